// Package archtest holds the test that the module's imports follow its layers.
package archtest
