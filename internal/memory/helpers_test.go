package memory

import "testing"

// memory is n bytes of Memory.
func memory(t testing.TB, n int64) *Memory {
	t.Helper()
	m, err := New(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
