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
	if !given("temperature") {
		r.Sampling.Temperature = d.Sampling.Temperature
		if t := r.Sampling.Temperature; t > 0 {
			fmt.Fprintf(a.stderr, "note: tokens are drawn at temperature %v, as the model's generation_config.json has it; --temperature 0 takes the likeliest\n", t)
		}
	}
	if !given("top-k") {
		r.Sampling.TopK = d.Sampling.TopK
	}
	if !given("top-p") {
		r.Sampling.TopP = d.Sampling.TopP
	}
	if !given("min-p") {
		r.Sampling.MinP = d.Sampling.MinP
	}
	if !given("repetition-penalty") {
		r.Sampling.RepetitionPenalty = d.Sampling.RepetitionPenalty
	}
	if !given("stop") {
		r.Stop = append(r.Stop, d.Stop...)
	}
}
