package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
)

// A mixture of experts has the modes of its router, unless a user asks for others,
// which is an error.
func TestBenchRouted(t *testing.T) {
	experts := config.ModelProfile{Kinds: []config.LayerKind{{MoE: config.MoE{Experts: 4}}}}
	for _, c := range []struct {
		profile config.ModelProfile
		modes   string
		ablate  bool
		want    []bench.Mode
		err     string
	}{
		{profile: config.ModelProfile{}, ablate: true, want: bench.Modes()},
		{profile: experts, want: []bench.Mode{bench.Resident, bench.Sparse}},
		{profile: experts, modes: "sparse", want: []bench.Mode{bench.Sparse}},
		{profile: experts, modes: "sparse,naive", err: "--modes: got naive of a mixture of experts, want some of resident,sparse"},
		{profile: experts, ablate: true, err: "--ablate: got a mixture of experts"},
	} {
		f := &benchFlags{modes: modeList(bench.Modes())}
		cmd := &cobra.Command{}
		cmd.Flags().StringVar(&f.modes, "modes", f.modes, "")
		if c.modes != "" {
			if err := cmd.Flags().Set("modes", c.modes); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if f.Modes, err = bench.ParseModes(f.modes); err != nil {
			t.Fatal(err)
		}
		f.Profile, f.Ablate = c.profile, c.ablate
		if err = f.routed(cmd); c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: got %v, want %q", c, err, c.err)
			}
		} else if err != nil || !slices.Equal(f.Modes, c.want) {
			t.Errorf("%+v: got %v, %v, want %v", c, f.Modes, err, c.want)
		}
	}
}
