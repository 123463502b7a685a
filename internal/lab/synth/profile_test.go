package synth

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/sparseflow/sparseflow/internal/arch"
)

// A drawn checkpoint's config.json describes the profile that it was drawn from.
func TestConfigSaysProfile(t *testing.T) {
	for _, s := range published() {
		p := s.sizes.Profile()
		p.ActiveShares = Options{Profile: p, Statistics: s.sizes.Statistics}.shares()
		raw, err := json.Marshal(transformersConfig(p))
		if err != nil {
			t.Fatal(err)
		}
		got, notices, err := arch.ReadTransformers(raw, nil)
		if err != nil || len(notices) > 0 || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: got %+v, %q, %v\nwant %+v", s.name, got, notices, err, p)
		}
	}
}
