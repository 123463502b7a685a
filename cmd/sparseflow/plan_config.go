package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
)

// unseen is a model that is planned without its weights.
type unseen struct {
	profile config.ModelProfile
	weights string // element type, or a mix
	from    string // what its sizes are computed from
}

// unseen is the model of --shape, of a config.json, of a checkpoint without
// weights, or with --quant of any other; nil for a model that is planned as it is.
func (f *planFlags) unseen(model string) (u *unseen, err error) {
	switch {
	case slices.Contains(synth.GGUFShapes(), f.shape):
		u = &unseen{weights: string(convert.F16), from: "the published shape " + f.shape}
		if u.profile, err = synth.GGUFProfile(f.shape); err != nil {
			return nil, err
		}
	case f.shape != "":
		sizes, err := synth.Published(f.shape)
		if err != nil {
			return nil, err
		}
		u = &unseen{sizes.Profile(), string(convert.F16), "the published shape " + f.shape}
		u.profile.Synthetic = false
	default:
		raw, from, err := configAlone(model)
		if err != nil {
			return nil, err
		}
		if raw != nil {
			u = &unseen{from: from}
			if u.profile, err = arch.ProfileFromTransformers(raw); err != nil {
				return nil, fmt.Errorf("plan %s: %w", from, err)
			}
			stored, err := arch.TransformersDType(raw)
			if err != nil {
				return nil, fmt.Errorf("plan %s: %w", from, err)
			}
			u.weights = strings.ToLower(stored.String())
		}
	}
	if f.quant == string(convert.Keep) {
		return u, nil
	}
	if u == nil {
		u = &unseen{from: "the config of " + model}
		if u.profile, err = profileOf(model, f.model.cacheDir); err != nil {
			return nil, err
		}
	}
	u.weights = f.quant
	return u, nil
}

// mostConfig is the longest config.json that is read.
const mostConfig = 1 << 20

// configAlone is the config.json that model is, or that is all there is of it: the
// path of a .json file, or a checkpoint without weights. It is nil of other models.
func configAlone(model string) (raw []byte, from string, err error) {
	var f fs.File
	if from = model; strings.EqualFold(filepath.Ext(model), ".json") {
		f, err = os.Open(model)
	} else {
		src, err := hub.Find(model)
		if err != nil {
			return nil, "", err
		}
		if src.Kind != hub.Checkpoint || hasWeights(src.FS) {
			return nil, "", nil
		}
		from = filepath.Join(src.Path, "config.json")
		if f, err = src.FS.Open("config.json"); err != nil {
			return nil, "", fmt.Errorf("plan %s: %w", from, err)
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("plan: %w", err)
	}
	defer f.Close()
	if raw, err = io.ReadAll(io.LimitReader(f, mostConfig+1)); err == nil && len(raw) > mostConfig {
		err = fmt.Errorf("got more than %d bytes, want a config.json", mostConfig)
	}
	if err != nil {
		return nil, "", fmt.Errorf("plan %s: %w", from, err)
	}
	return raw, from, nil
}

// hasWeights reports whether a checkpoint's directory holds files of weights.
func hasWeights(dir fs.FS) bool {
	for _, pattern := range []string{"*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json"} {
		if found, err := fs.Glob(dir, pattern); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
