package arch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// SyntheticKey is the key of a config.json that is true where the weights were
// drawn and not trained; transformers keep keys that they do not know.
const SyntheticKey = "sparseflow_synthetic"

// ActiveKey is the key of a config.json that holds ModelProfile.ActiveShares.
const ActiveKey = "sparseflow_active_shares"

// ProfileFromTransformers reads the config.json that Hugging Face's transformers
// write beside a checkpoint.
func ProfileFromTransformers(hf []byte) (config.ModelProfile, error) {
	p, _, err := ReadTransformers(hf, nil)
	return p, err
}

// ReadTransformers reads a config.json and, unless it is nil, the
// generation_config.json beside it. Notices tell what of them is not followed.
//
// A field that is absent has the default of the reference implementation. A null
// means what None means there: no such token, no, or a size that follows from
// others. Keys that say nothing about inference are ignored, and so are
// special tokens that the vocabulary does not have. A generation_config.json
// that cannot be read stops no model.
func ReadTransformers(hf, generation []byte) (p config.ModelProfile, notices []string, err error) {
	r, err := newReader("config.json", hf)
	if err != nil {
		return config.ModelProfile{}, nil, err
	}
	name := r.modelType()
	if r.err != nil {
		return config.ModelProfile{}, nil, r.err
	}
	f, err := byModelType(name)
	if text := r.object("text_config"); err != nil && text.keys != nil {
		// A model that sees or hears is, where it reads, one of another family.
		f, err = byModelType(text.modelType())
	}
	if err != nil {
		return config.ModelProfile{}, nil, fmt.Errorf("config: %s: %w", r.file, err)
	}
	if r.given("text_config") {
		r = r.within("text_config")
	}
	p = f.profile(r)
	p.Family = f.name
	p.Synthetic = r.flag(SyntheticKey, false)
	p.ActiveShares = r.shares(ActiveKey, p.Layers)
	r.quantised()
	if r.err != nil {
		return config.ModelProfile{}, nil, r.err
	}
	notices = r.notices
	if generation != nil {
		g, err := newReader("generation_config.json", generation)
		if err != nil {
			notices = append(notices, fmt.Sprintf("generation_config.json is not followed: %v", err))
		} else {
			p.Generation = readGeneration(g, p.VocabSize)
			notices = append(notices, g.notices...)
		}
	}
	if err := p.Validate(); err != nil {
		return config.ModelProfile{}, nil, err
	}
	return p, notices, nil
}

// quantised refuses weights that are stored in a way that is not read, which would be
// found out by the names of tensors alone.
func (r *reader) quantised() {
	q := r.object("quantization_config")
	if !q.given("quant_method") {
		return
	}
	const want = "fp8 in blocks of 128 by 128 or mxfp4: others are not read, while GGUF files of many kinds are"
	switch q.text("quant_method", want) {
	case "mxfp4":
	case "fp8":
		var block []int
		if json.Unmarshal(q.keys["weight_block_size"], &block) != nil || !slices.Equal(block, []int{source.FP8Block, source.FP8Block}) {
			q.fail("weight_block_size", "[128, 128]")
		}
	default:
		q.fail("quant_method", want)
	}
}

// TransformersDType is the element type of a checkpoint's weights by its
// config.json, F32 where that names none, as the reference implementation takes it.
func TransformersDType(hf []byte) (tensor.DType, error) {
	r, err := newReader("config.json", hf)
	if err != nil {
		return 0, err
	}
	key := "torch_dtype"
	if !r.given(key) {
		key = "dtype" // its name in later versions
	}
	if !r.given(key) {
		return tensor.F32, nil
	}
	const want = "float32, float16 or bfloat16"
	switch name := r.text(key, want); strings.TrimPrefix(name, "torch.") {
	case "float32":
		return tensor.F32, nil
	case "float16":
		return tensor.F16, nil
	case "bfloat16":
		return tensor.BF16, nil
	}
	r.fail(key, want)
	return 0, r.err
}
