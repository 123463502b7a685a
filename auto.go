package sparseflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// Choice is what Auto chose for each layer, and what it measured.
type Choice = engine.Choice

// Choice is what Auto chose, nil in the other modes.
func (e *Engine) Choice() *Choice { return e.e.Choice() }

// choiceSection is the name of the sidecar's section of auto's choices, a JSON
// object of them by key.
const choiceSection = "auto"

// readChoices is a sidecar's choices, none where s is nil. What cannot be read
// is none: it will be measured anew.
func readChoices(s *sidecar.Sidecar) map[string]Choice {
	choices := make(map[string]Choice)
	if s == nil {
		return choices
	}
	if sec, ok := s.Section(choiceSection); ok {
		if err := json.Unmarshal(sec.JSON, &choices); err != nil || choices == nil {
			return make(map[string]Choice)
		}
	}
	return choices
}

// mostChoices is how many choices are kept. A model that was run at more
// budgets than that measures again.
const mostChoices = 64

// auto is how the engine of pack p gets and keeps its choice. What it learns is
// added to known.
func auto(ctx context.Context, p *pack.Pack, o options, known map[string]Choice) (*engine.Auto, error) {
	dir, err := hub.CacheDir(o.cacheDir)
	if err != nil {
		return nil, err
	}
	path, source, notify := p.Path(), p.SourceSHA256(), o.notify
	return &engine.Auto{
		Known: func(key string) (c Choice, ok bool) {
			c, ok = known[key]
			return c, ok
		},
		Learned: func(key string, c Choice) {
			known[key] = c
			if err := storeChoice(ctx, path, dir, source, key, c); err != nil && notify != nil {
				notify(fmt.Sprintf("what auto measured could not be kept, and will be measured again: %v", err))
			}
		},
	}, nil
}

// knownChoice is the choice that is stored for a pack.
func knownChoice(path, dir, source, key string) (Choice, bool) {
	s, err := sidecar.Lookup(path, dir, source)
	if err != nil {
		return Choice{}, false // whoever reads the calibration says why
	}
	c, ok := readChoices(s)[key]
	return c, ok
}

// storeChoice adds a choice to a pack's sidecar.
func storeChoice(ctx context.Context, path, dir, source, key string, c Choice) error {
	to, err := sidecar.PathFor(path, dir, source)
	if err != nil {
		return err
	}
	var failed error
	err = sidecar.Update(ctx, to, source, func(s *sidecar.Sidecar) *sidecar.Sidecar {
		choices := readChoices(s)
		if len(choices) >= mostChoices {
			clear(choices)
		}
		choices[key] = c
		var b []byte
		if b, failed = json.Marshal(choices); failed != nil {
			return s
		}
		return s.With(choiceSection, sidecar.Section{JSON: b})
	})
	return errors.Join(err, failed)
}

// plannedChoice adds to a plan what auto chose before at its placement, if that
// is known.
func plannedChoice(src hub.Source, place *Placement, o options) error {
	if !place.Auto || !place.Fits {
		return nil
	}
	path, err := convert.KnownPack(context.Background(), src, o.cacheDir)
	if err != nil || path == "" {
		return err
	}
	p, err := pack.Open(path)
	if err != nil {
		return err
	}
	dir, err := hub.CacheDir(o.cacheDir)
	if err == nil {
		if c, ok := knownChoice(p.Path(), dir, p.SourceSHA256(), engine.AutoKey(p.Layout, place, o.engine)); ok {
			place.Chosen = c.String()
		}
	}
	return errors.Join(err, p.Close())
}
