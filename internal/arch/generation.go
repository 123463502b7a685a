package arch

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
)

// The defaults of transformers' GenerationConfig where tokens are drawn.
const (
	drawTemperature = 1
	drawTopK        = 50
)

// readGeneration reads a GenerationConfig; see transformers,
// generation/configuration_utils.py.
func readGeneration(r *reader, vocab int) config.Generation {
	positive := numbers{func(v float64) bool { return v > 0 && v < math.MaxFloat32 }, "a number above 0"}
	share := numbers{func(v float64) bool { return v >= 0 && v <= 1 }, "0 to 1"}
	size := numbers{
		func(v float64) bool { return v >= 0 && v == math.Trunc(v) && v <= math.MaxInt32 },
		"a whole number of at least 0",
	}
	g := config.Generation{EOS: r.tokens("eos_token_id", nil, vocab), Sample: r.flag("do_sample", false)}
	temperature := float32(drawTemperature)
	readNumber(r, "temperature", positive, &temperature)
	if g.Sample {
		g.Temperature, g.TopK = temperature, drawTopK
	}
	readNumber(r, "top_k", size, &g.TopK)
	readNumber(r, "top_p", share, &g.TopP)
	readNumber(r, "min_p", share, &g.MinP)
	readNumber(r, "repetition_penalty", positive, &g.RepetitionPenalty)
	readNumber(r, "max_new_tokens", size, &g.MaxTokens)
	if stop := r.strings("stop_strings"); len(stop) > 0 {
		g.Stop = stop
	}
	if asked := r.unfollowed(); len(asked) > 0 {
		r.notices = append(r.notices, fmt.Sprintf("%s: not followed: %s", r.file, strings.Join(asked, ", ")))
	}
	return g
}

// strings is a string or a list of them, none where the key is absent.
func (r *reader) strings(key string) (list []string) {
	if !r.given(key) {
		return nil
	}
	raw := r.keys[key]
	if raw[0] == '"' {
		raw = append(append([]byte{'['}, raw...), ']')
	}
	if json.Unmarshal(raw, &list) != nil {
		r.leaveOut(key, "want a string or a list of them")
		return nil
	}
	return list
}

// unfollowed lists what is asked for that would change a text and that nothing
// here does.
func (r *reader) unfollowed() (asked []string) {
	for key, off := range map[string]string{
		"num_beams": "1", "num_beam_groups": "1", "penalty_alpha": "0", "typical_p": "1", "epsilon_cutoff": "0", "eta_cutoff": "0",
		"no_repeat_ngram_size": "0", "encoder_no_repeat_ngram_size": "0", "encoder_repetition_penalty": "1", "diversity_penalty": "0",
		"min_length": "0", "min_new_tokens": "0", "bad_words_ids": "", "sequence_bias": "", "suppress_tokens": "", "begin_suppress_tokens": "",
		"forced_bos_token_id": "", "forced_eos_token_id": "", "exponential_decay_length_penalty": "", "guidance_scale": "1", "watermarking_config": "",
	} {
		value := strings.TrimSuffix(r.shown(key), ".0")
		if r.given(key) && value != off && value != "[]" && value != "{}" {
			asked = append(asked, key)
		}
	}
	slices.Sort(asked)
	return asked
}
