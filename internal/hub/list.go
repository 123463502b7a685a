package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// An Entry is one model that is here.
type Entry struct {
	Name   string `json:"name"`   // what to call it by, or for a pack of the cache what it was made from
	Kind   string `json:"kind"`   // embedded, pack, checkpoint or gguf
	Bytes  int64  `json:"bytes"`  // of its files
	Path   string `json:"path"`   // empty for the embedded model
	Family string `json:"family"` // by its config; empty if it cannot be told
	// Synthetic says that the weights were drawn, not trained.
	Synthetic bool `json:"synthetic,omitempty"`
	// Incomplete says that files of a download are missing.
	Incomplete bool `json:"incomplete,omitempty"`
}

// List lists the embedded model, the packs in cacheDir and the models of the
// Hugging Face hub cache, of whatever family, sorted by name within each. Directories that do not
// exist hold nothing; what cannot be read there is left out.
func List(cacheDir string) ([]Entry, error) {
	embedded, err := directoryBytes(tiny.Files)
	if err != nil {
		return nil, fmt.Errorf("hub: list: %w", err)
	}
	list := []Entry{{Name: Tiny, Kind: "embedded", Bytes: embedded, Family: readAbout(tiny.Files).ModelType}}
	packs, err := listPacks(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("hub: list: %w", err)
	}
	models, err := listCached()
	if err != nil {
		return nil, fmt.Errorf("hub: list: %w", err)
	}
	return slices.Concat(list, packs, models), nil
}

func listPacks(dir string) ([]Entry, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || filepath.Ext(path) != ".sflow" {
			continue
		}
		m, err := packMetadata(path)
		if err != nil || m.name == "" {
			m.name = e.Name()
		}
		list = append(list, Entry{Name: m.name, Kind: string(Pack), Bytes: info.Size(), Path: path, Family: m.family, Synthetic: m.synthetic})
	}
	sortByName(list)
	return list, nil
}

func listCached() (list []Entry, err error) {
	for _, c := range hubCaches() {
		entries, err := readDir(c.dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			id, ok := strings.CutPrefix(e.Name(), repoPrefix)
			name := strings.Replace(id, "--", "/", 1)
			// Where two caches have a model, the first is used.
			if !ok || slices.ContainsFunc(list, func(e Entry) bool { return e.repo() == name }) {
				continue
			}
			snapshot, err := snapshotOf(filepath.Join(c.dir, e.Name()))
			if err != nil {
				continue
			}
			fsys := os.DirFS(snapshot)
			models := ggufModels(fsys)
			for _, m := range models {
				list = append(list, Entry{
					Name: name + ":" + m.label, Kind: string(GGUF), Bytes: m.bytes, Path: filepath.Join(snapshot, filepath.FromSlash(m.file)),
					Family: architecture(fsys, m.file), Incomplete: m.missing != "",
				})
			}
			about := readAbout(fsys)
			if about.ModelType == "" || len(models) > 0 && !hasWeights(snapshot) {
				continue
			}
			n, err := directoryBytes(fsys)
			if err != nil {
				continue
			}
			_, err = openCached(name, "", filepath.Join(c.dir, e.Name()))
			list = append(list, Entry{
				Name: name, Kind: string(Checkpoint), Bytes: n, Path: snapshot, Family: about.ModelType,
				Synthetic: about.Synthetic, Incomplete: err != nil,
			})
		}
	}
	sortByName(list)
	return list, nil
}

// repo is the repository of a model of the hub cache.
func (e Entry) repo() string {
	id, _, _ := strings.Cut(e.Name, ":")
	return id
}

func sortByName(list []Entry) {
	slices.SortStableFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
}

// readDir is os.ReadDir of a directory that may not be there.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// directoryBytes is the size of the files at the root of fsys, following links
// but for those that lead nowhere.
func directoryBytes(fsys fs.FS) (n int64, err error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := fs.Stat(fsys, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n, nil
}

// about is what a config.json says the model is, as far as a list shows it.
type about struct {
	ModelType string `json:"model_type"`
	Synthetic bool   `json:"sparseflow_synthetic"` // config.SyntheticKey
}

// readAbout is zero where there is no such file, or none that can be read.
func readAbout(fsys fs.FS) (a about) {
	f, err := fsys.Open(configFile)
	if err != nil {
		return about{}
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil || json.Unmarshal(config.FromPythonJSON(raw), &a) != nil {
		return about{}
	}
	return a
}

// metadata are what a list shows of a pack.
type metadata struct {
	name, family string
	synthetic    bool
}

// packMetadata reads them from a pack's header. It is no check: package pack,
// which may not be imported from here, opens packs.
func packMetadata(path string) (metadata, error) {
	f, size, err := source.OpenRegular(path)
	if err != nil {
		return metadata{}, err
	}
	defer f.Close()
	h, err := source.ParseSafetensors(f, size, path)
	if err != nil {
		return metadata{}, err
	}
	if h.Metadata["sparseflow.version"] == "" {
		return metadata{}, fmt.Errorf("hub: read %s: got no sparseflow.version, want the metadata of a pack", path)
	}
	var profile struct {
		Family    string `json:"family"`
		Synthetic bool   `json:"synthetic"`
	}
	if err := json.Unmarshal([]byte(h.Metadata["sparseflow.profile"]), &profile); err != nil {
		return metadata{}, fmt.Errorf("hub: read %s: %w", path, err)
	}
	return metadata{h.Metadata["sparseflow.name"], profile.Family, profile.Synthetic}, nil
}
