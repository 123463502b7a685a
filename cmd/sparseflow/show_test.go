package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/arch"
)

// What a person wants to know of experts is a line each.
func TestShowExperts(t *testing.T) {
	for _, c := range []struct {
		config string
		want   []string
	}{
		{`{"model_type": "qwen3_moe", "num_hidden_layers": 48, "head_dim": 128, "norm_topk_prob": true}`, []string{
			"parameters     30532 M, 3353 M of them for each token",
			"layers         48 of width 2048, 32 heads of 128 (4 for keys and values)\n",
			"experts        128 of 768 neurons in 48 layers, 8 for each token\n",
			"router         softmax, divided by their sum\n",
			"activation     silu, no zeros: an expert is computed whole",
		}},
		{`{"model_type": "glm4_moe", "first_k_dense_replace": 3, "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5}`, []string{
			"MLP of 10944 in 3 of them\n",
			"experts        128 of 1408 neurons in 43 layers, 8 for each token, and one of 1408 that all use\n",
			"router         sigmoid, from the best 4 of 8 groups, biased for the choice, divided by their sum, times 2.5\n",
		}},
		{`{"model_type": "qwen2_moe"}`, []string{"4 for each token, and a gated one of 5632 that all use\n", "router         softmax\n"}},
		{`{"model_type": "gpt_oss"}`, []string{"router         softmax of those chosen\n"}},
		{`{"model_type": "llama"}`, []string{"MLP of 11008\n", "no zeros: all of it is computed for every token\n"}},
	} {
		p, err := arch.ProfileFromTransformers([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		s := showJSON{Profile: &p}
		s.Parameters, s.Active = p.Weights()
		(&app{stdout: &output{to: &out}}).printFacts(s)
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: got\n%swant %q", c.config, &out, want)
			}
		}
		if dense := strings.Contains(c.config, "llama"); strings.Contains(out.String(), "experts") == dense || strings.Contains(out.String(), "for each token") == dense {
			t.Errorf("%s: got\n%s", c.config, &out)
		}
	}
}
