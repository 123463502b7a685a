package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// childVar makes this test's program a mode's process that behaves as it says.
const childVar = "SPARSEFLOW_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVar) {
	case "":
		os.Exit(m.Run())
	case "works":
		if err := Child(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "dies":
		io.WriteString(os.Stderr, "out of luck\n")
		os.Exit(7)
	case "babbles":
		io.WriteString(os.Stdout, "not JSON\n")
	case "waits": // for the end of its input, as one that works does
		io.Copy(io.Discard, os.Stdin)
	case "hangs":
		time.Sleep(time.Hour)
	}
}

// behaving is a Command whose process behaves in the given way.
func behaving(how string) func(context.Context) (*exec.Cmd, error) {
	return func(ctx context.Context) (*exec.Cmd, error) {
		c := exec.CommandContext(ctx, os.Args[0])
		c.Env = append(os.Environ(), childVar+"="+how)
		return c, nil
	}
}
