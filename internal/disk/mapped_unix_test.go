//go:build unix

package disk

import (
	"os"
	"testing"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// A page that is no longer there is a signal to a mapping. It becomes an
// error, of that read alone.
func TestMappedFault(t *testing.T) {
	f := makePack(t, 0)
	file, err := openMapped(f.Files())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	buf := make([]byte, 3*memory.PageAlign)
	if err := os.Truncate(f.Path(), memory.PageAlign); err != nil {
		t.Fatal(err)
	}
	n, err := file.ReadVec([][]byte{buf[:memory.PageAlign], buf[memory.PageAlign:]}, 0)
	if n != memory.PageAlign {
		t.Errorf("got %d bytes, want %d", n, memory.PageAlign)
	}
	wantIn(t, err, "fault in the file's mapping")
	if _, err := file.ReadVec([][]byte{buf[:memory.PageAlign]}, 0); err != nil {
		t.Errorf("the page that is left: %v", err)
	}
	if _, err := file.ReadVec([][]byte{buf}, -1); err == nil {
		t.Error("a negative offset: got no error")
	}
}
