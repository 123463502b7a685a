package engine_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No engine leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
