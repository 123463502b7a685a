package sparseflow

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/quick"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/quality"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// sameShape wants a value of a public type to survive the way to the internal
// type and back: no field is missing in either.
func sameShape[Public, Internal any](t *testing.T) {
	t.Helper()
	f := func(v Public) bool { return reflect.DeepEqual(mirror.To[Public](mirror.To[Internal](v)), v) }
	if err := quick.Check(f, &quick.Config{MaxCount: 20}); err != nil {
		t.Error(err)
	}
	g := func(v Internal) bool { return reflect.DeepEqual(mirror.To[Internal](mirror.To[Public](v)), v) }
	if err := quick.Check(g, &quick.Config{MaxCount: 20}); err != nil {
		t.Error(err)
	}
}

func TestTypesHaveOneShape(t *testing.T) {
	sameShape[OffloadStrategy, config.OffloadStrategy](t)
	sameShape[ModelProfile, config.ModelProfile](t)
	sameShape[Placement, placement.Placement](t)
	sameShape[Stats, engine.Stats](t)
	sameShape[Calibration, predict.Calibration](t)
	sameShape[OperatingPoint, predict.Point](t)
	sameShape[Evaluation, quality.Report](t)
}

// A config is the model of a config.json and the strategy, and nothing where
// either is wrong.
func TestFromTransformersConfig(t *testing.T) {
	hf := []byte(`{"model_type": "opt", "vocab_size": 512, "hidden_size": 64, "ffn_dim": 96,
		"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}`)
	s := DefaultStrategy()
	s.Mode, s.Context = Dense, 16
	got, err := FromTransformersConfig(hf, s)
	if err != nil || got.Profile.FFN != 96 || got.Profile.EOS[0] != 2 || !reflect.DeepEqual(got.Strategy, s) {
		t.Errorf("got %+v, %v, want 96 neurons and %+v", got, err, s)
	}
	if _, err := FromTransformersConfig([]byte("{"), s); err == nil {
		t.Error("half a file: got no error")
	}
	s.Threads = -1
	if _, err := FromTransformersConfig(hf, s); err == nil || !strings.Contains(err.Error(), "threads") {
		t.Errorf("threads -1: got error %v", err)
	}
}

// The constants are those of the packages that act on them.
func TestConstants(t *testing.T) {
	for _, c := range []struct{ got, want any }{
		{Auto, Mode(config.Auto)}, {Dense, Mode(config.Dense)}, {Gate, Mode(config.Gate)}, {Predicted, Mode(config.Predicted)},
		{IODirect, IOMode(config.IODirect)}, {IOMmap, IOMode(config.IOMmap)},
		{F32, DType(tensor.F32)}, {F16, DType(tensor.F16)}, {BF16, DType(tensor.BF16)}, {Q8_0, DType(tensor.Q8_0)}, {Q4_0, DType(tensor.Q4_0)},
		{Q2_K, DType(tensor.Q2_K)}, {MXFP4, DType(tensor.DTypes - 1)},
		{FinishStop, FinishReason(engine.FinishStop)}, {FinishLength, FinishReason(engine.FinishLength)},
		{FloorPerplexity, Floor(predict.FloorPerplexity)}, {FloorRecall, Floor(predict.FloorRecall)},
		{LeastRecall, predict.LeastRecall}, {MostError, predict.MostError},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

// Each method that an internal one stands behind says what that says.
func TestMethodsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := func() int64 { return 1 + r.Int64N(1000) }
	c := Counters{Wanted: 10, Misses: 3, Computed: 2, Passes: 8, Sampled: 4, Found: 3, SampledOutput: 4, SampledError: 1, ExpectedError: 0.25}
	recall, _ := c.Recall()
	off, _ := c.OutputError()
	calibrated, _ := c.CalibratedError()
	a := LayerAudit{Tokens: n(), Neurons: 100, Active: 10, Computed: 20, Found: 5, ActiveWeight: 4, FoundWeight: 3, Error: 1, Output: 4}
	sum := a
	sum.Add(a)
	p := OperatingPoint{MinEnergy: 1, PPLChange: 0.001, KL: 0.01, Layers: []LayerPoint{{MinEnergy: 2, RecallWeighted: 0.9}}}
	cal := Calibration{Points: []OperatingPoint{{MinEnergy: 1}, {MinEnergy: 2, PPLChange: 0.1}}, Layers: []LayerCalibration{{Kind: "lowrank", Silent: []bool{false, true}}}}
	chosen, held := cal.Choose(0.005)
	profile := ModelProfile{HiddenSize: 64, Heads: 4, KVHeads: 2, Layers: 2, FFN: 256, NeuronParts: 2, Activation: "relu", EOS: []int32{2}, Generation: Generation{EOS: []int32{7}}}
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"HitRate", c.HitRate(), 0.7}, {"ComputedShare", c.ComputedShare(), 0.25}, {"Recall", recall, 0.75},
		{"OutputError", off, 0.5}, {"CalibratedError", calibrated, 0.25},
		{"TokensPerSecond", Stats{Tokens: 3, Decode: 1e9}.TokensPerSecond(), 2.0},
		{"audit Recall", a.Recall(), 0.5}, {"RecallWeighted", a.RecallWeighted(), 0.75}, {"Precision", a.Precision(), 0.25},
		{"ActiveShare", a.ActiveShare(), 0.1}, {"audit ComputedShare", a.ComputedShare(), 0.2}, {"audit OutputError", a.OutputError(), 0.5},
		{"Add", sum.Tokens, 2 * a.Tokens},
		{"Cost", p.Cost(), 0.015}, {"ByRecall", p.ByRecall(), true}, {"HoldsRecall", p.HoldsRecall(), false}, {"LayerEnergy", p.LayerEnergy(0), 2.0},
		{"Choose", chosen.MinEnergy, 1.0}, {"held", held, true}, {"Uses", cal.Uses("lowrank"), true}, {"IsSilent", cal.Layers[0].IsSilent(1), true},
		{"HeadDim", profile.HeadDim(), 16}, {"KVDim", profile.KVDim(), 32}, {"Neurons", profile.Neurons(), int64(512)}, {"Sparse", profile.Sparse(), true},
		{"IsEOS", profile.IsEOS(7), true}, {"BundleBytes", profile.BundleBytes(F16), int64(256)},
		{"Summary", Choice{Modes: "ppg"}.Summary(), "2 predicted, 1 gate"}, {"Exact", Choice{Modes: "gg"}.Exact(), true},
		{"OfRow", Q8_0.OfRow(33), F16}, {"RowBytes", F32.RowBytes(3), int64(12)}, {"Quantised", Q4_0.Quantised(), true}, {"Valid", DType(99).Valid(), false},
		{"Change", (&Evaluation{PPL: 3, PPLDense: 2}).Change(), 0.5},
		{"Greedy", Sampling{}.Greedy(), true}, {"Validate", Sampling{TopP: 2}.Validate() != nil, true},
		{"Seconds", PerToken{FastBytes: 10, SlowBytes: 4}.Seconds(Rates{Rows: 10, Neurons: 1, Complete: 1, Random: 4, InOrder: 1}), 2.0},
		{"SimDisk", SimDisk{IOPS: 2, BytesPerSecond: 4e9}.Speed().Seconds(1), 0.5},
		{"Budget", Budget{Share: 0.58}.String(), "58%"}, {"IsZero", Budget{}.IsZero(), true},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	bias := make([]float32, 2)
	(&LayerCalibration{Slope: []float32{1, 1}, Offset: []float32{1, 1}, Sigma: []float32{1, 1}, Norm: []float32{1, 1}}).Bias(bias, 0.1)
	if bias[0] == 0 {
		t.Error("Bias: got zeros, want a bias")
	}
}

// Each method of a tokenizer says what the one within says.
func TestTokenizerAgrees(t *testing.T) {
	tok, err := LoadTokenizer("tiny")
	if err != nil {
		t.Fatal(err)
	}
	in := tok.t
	all := func(v ...any) []any { return v }
	of := func(v, ok any) []any { return all(v, ok) }
	ids := tok.Encode("</s>Once upon é", true)
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"Encode", ids, in.Encode("</s>Once upon é", true)},
		{"TryEncode", of(tok.TryEncode("Once", true)), of(in.TryEncode("Once", true))},
		{"Decode", tok.Decode(ids, true), in.Decode(ids, true)}, {"with special", tok.Decode(ids, false), in.Decode(ids, false)},
		{"DecodeBytes", tok.DecodeBytes(ids[:len(ids)-1], true), in.DecodeBytes(ids[:len(ids)-1], true)},
		{"Token", of(tok.Token(83)), of(in.Token(83))}, {"IsSpecial", tok.IsSpecial(2), in.IsSpecial(2)},
		{"BOS", of(tok.BOS()), of(in.BOS())}, {"EOS", of(tok.EOS()), of(in.EOS())}, {"Pad", of(tok.Pad()), of(in.Pad())}, {"Unk", of(tok.Unk()), of(in.Unk())},
		{"AddsBOS", tok.AddsBOS(), in.AddsBOS()}, {"VocabSize", tok.VocabSize(), in.VocabSize()},
		{"Roles", tok.Roles(), in.Roles()}, {"ChatTemplate", of(tok.ChatTemplate("")), of(in.ChatTemplate(""))},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	for _, skip := range []bool{true, false} {
		d, text := tok.NewDecoder(), ""
		d.SkipSpecial = skip
		for _, id := range ids {
			text += d.Push(id)
		}
		if text += d.Flush(); text != tok.Decode(ids, skip) {
			t.Errorf("skip special %v: got %q from a stream, want %q", skip, text, tok.Decode(ids, skip))
		}
	}
}

// Everything that go doc shows of this package says what it is, and no type is
// another name of an internal one, of which go doc would show neither fields nor
// methods.
func TestEverythingIsDocumented(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range undocumented(set, file) {
			t.Error(problem)
		}
	}
}

func undocumented(set *token.FileSet, file *ast.File) (problems []string) {
	want := func(n *ast.Ident, texts ...*ast.CommentGroup) {
		for _, c := range texts {
			if strings.TrimSpace(c.Text()) != "" {
				return
			}
		}
		if n.IsExported() {
			problems = append(problems, set.Position(n.Pos()).String()+": "+n.Name+" has no comment")
		}
	}
	fields := func(list *ast.FieldList) {
		for _, f := range list.List {
			for _, n := range f.Names {
				want(n, f.Doc, f.Comment)
			}
			if n, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
				want(n, f.Doc, f.Comment)
			}
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			want(d.Name, d.Doc)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					for _, n := range s.Names {
						want(n, d.Doc, s.Doc, s.Comment)
					}
				case *ast.TypeSpec:
					want(s.Name, d.Doc, s.Doc, s.Comment)
					if s.Assign.IsValid() && s.Name.IsExported() {
						problems = append(problems, set.Position(s.Pos()).String()+": "+s.Name.Name+" is another name of a type, want a type of its own")
					}
					switch of := s.Type.(type) {
					case *ast.StructType:
						fields(of.Fields)
					case *ast.InterfaceType:
						fields(of.Methods)
					case *ast.SelectorExpr:
						problems = append(problems, set.Position(s.Pos()).String()+": "+s.Name.Name+" has the fields of another package's type, want its own")
					}
				}
			}
		}
	}
	return problems
}

// The check finds what it is for.
func TestUndocumentedIsFound(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "x.go", `package x

type A = b.A // an alias

type B b.B // hides fields

// C is documented.
type C struct {
	D int
	E int // is too
}

func F() {}

// I is too.
type I interface { G() }
`, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(undocumented(set, file), "\n")
	for _, want := range []string{"A is another name", "B has the fields", "D has no comment", "F has no comment", "G has no comment"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %q among it", got, want)
		}
	}
	if strings.Contains(got, "E has") || strings.Contains(got, "C has") {
		t.Errorf("got %s, want nothing of C and E", got)
	}
}
