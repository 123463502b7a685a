package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
)

// asPublished gives a request what the model's makers say of sampling, where no
// flag says otherwise, and tells of it.
func (a *app) asPublished(cmd *cobra.Command, eng *sparseflow.Engine, r *sparseflow.Request) {
	given := func(flag string) bool { return cmd.Flags().Changed(flag) }
	d := eng.Defaults()
	if t := d.Sampling.Temperature; t > 0 && !given("temperature") {
		fmt.Fprintf(a.stderr, "note: tokens are drawn at temperature %v, as the model's generation_config.json has it; --temperature 0 takes the likeliest\n", t)
	}
	unless(given("temperature"), &r.Sampling.Temperature, d.Sampling.Temperature)
	unless(given("top-k"), &r.Sampling.TopK, d.Sampling.TopK)
	unless(given("top-p"), &r.Sampling.TopP, d.Sampling.TopP)
	unless(given("min-p"), &r.Sampling.MinP, d.Sampling.MinP)
	unless(given("repetition-penalty"), &r.Sampling.RepetitionPenalty, d.Sampling.RepetitionPenalty)
	unless(given("max-tokens") || d.MaxTokens == 0, &r.MaxTokens, min(r.MaxTokens, d.MaxTokens)) // what there is room for
	unless(given("stop"), &r.Stop, d.Stop)
}

// unless sets what is not given.
func unless[T any](given bool, to *T, v T) {
	if !given {
		*to = v
	}
}
