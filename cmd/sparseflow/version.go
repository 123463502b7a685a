package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	var f toolFlags
	cmd := &cobra.Command{
		Use:     "version",
		GroupID: groupTool,
		Short:   "Tell the version and how it was built",
		Long: `Version prints the version, the version of Go that built it, and the system that
it was built for. A build with cgo is named: it needs the C library of the system
that it was built on, where one with CGO_ENABLED=0 needs nothing.`,
		Example: `  sparseflow version
  sparseflow version --json`,
		Args: argsNamed(0),
		RunE: func(*cobra.Command, []string) error {
			return a.tell(f.json, struct {
				Schema  int    `json:"schema"`
				Version string `json:"version"`
			}{schema, version()}, "sparseflow %s", version())
		},
	}
	f.addTo(cmd, false)
	return cmd
}

// release is the version that scripts/release.sh builds; else the module's counts.
var release string

// version is the program's version and what it was built with.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	v := cmp.Or(release, info.Main.Version, "(devel)")
	cgo := ""
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" && s.Value == "1" {
			cgo = ", cgo: needs libc; build with CGO_ENABLED=0 for a static program"
		}
	}
	return fmt.Sprintf("%s (%s, %s/%s%s)", v, info.GoVersion, runtime.GOOS, runtime.GOARCH, cgo)
}
