package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Convert packs the checkpoint at the root of src into the file dst. srcName is
// the checkpoint's path, for errors.
func Convert(ctx context.Context, src fs.FS, srcName, dst string, o Options) (Result, error) {
	return ConvertModel(ctx, checkpointAt(src, srcName), dst, o)
}

// ConvertModel packs a model, which is no pack, into the file dst.
func ConvertModel(ctx context.Context, src hub.Source, dst string, o Options) (Result, error) {
	s, err := openSource(src)
	if err != nil {
		return Result{}, err
	}
	defer s.ckpt.Close()
	return s.convert(ctx, dst, o)
}

// Describe is the pack that Convert would make. It reads headers only.
func Describe(src fs.FS, srcName string, o Options) (pack.Spec, error) {
	s, err := openSource(checkpointAt(src, srcName))
	if err != nil {
		return pack.Spec{}, err
	}
	defer s.ckpt.Close()
	return s.spec(o)
}

// kept is the element type of each class where every value is kept: of matrices
// that of most bytes, from which the others differ, of neurons one for all.
func (s *opened) kept() (attn, mlp tensor.DType) {
	var attns, mlps, parts []*source.Tensor
	for name, t := range s.tensors.Resident {
		switch {
		case len(t.Shape) != 2: // vectors are stored as F32 whatever they were
		case pack.OfMLP(name):
			mlps = append(mlps, t)
		default:
			attns = append(attns, t)
		}
	}
	for _, l := range s.tensors.Layers {
		parts = append(parts, l.Parts()...)
	}
	for _, l := range s.tensors.Experts {
		for _, part := range l.Parts {
			mlps = append(mlps, expertTensors(part)...)
		}
	}
	if len(parts) > 0 {
		return commonest(attns), widest(parts)
	}
	return commonest(attns), commonest(mlps)
}

// spec is the pack that o asks for.
func (s *opened) spec(o Options) (pack.Spec, error) {
	spec := pack.Spec{Profile: s.profile, Name: cmp.Or(o.Name, filepath.Base(s.name)), Tokenizer: s.tokenizer()}
	spec.Attn, spec.MLP = s.kept()
	return spec, o.types(&spec, s.stored)
}

// stored is the type of a matrix, or of a part of a layer's experts, as it is stored.
func (s *opened) stored(name string) tensor.DType {
	if t := s.tensors.Resident[name]; t != nil {
		return t.DType
	}
	for i, l := range s.tensors.Experts {
		for p, x := range s.profile.ExpertTensors(i) {
			if x.Name == name && len(l.Parts[p]) > 0 {
				return widest(expertTensors(l.Parts[p]))
			}
		}
	}
	return tensor.F16
}

// Quantise gives the matrices of spec the types that quant, which is not Keep,
// asks for.
func Quantise(spec *pack.Spec, quant string) error {
	o := Options{Attn: Quant(quant), MLP: Quant(quant)}
	if _, err := o.Attn.mix(); err != nil {
		return err
	}
	return o.types(spec, nil)
}

// types sets the types of spec, which has those of classes that are kept; stored
// is that of one of their matrices.
func (o Options) types(spec *pack.Spec, stored func(name string) tensor.DType) error {
	var mixes [2]tensor.Mix
	for i, class := range []struct {
		quant Quant
		dtype *tensor.DType
	}{{o.Attn, &spec.Attn}, {o.MLP, &spec.MLP}} {
		if class.quant.keeps() {
			continue
		}
		var err error
		if mixes[i], err = class.quant.mix(); err != nil {
			return err
		}
		*class.dtype = mixes[i].Base()
	}
	p := spec.Profile
	if p.Sparse() {
		spec.MLP = pack.BundleType(spec.MLP, p.HiddenSize)
	}
	spec.Types = make(map[string]tensor.DType)
	shapes := p.SharedTensors()
	for i := range p.Layers {
		shapes = append(append(shapes, p.LayerTensors(i)...), pack.ExpertShapes(p, i)...)
	}
	for _, x := range shapes {
		if x.Vector || pack.IsRouter(x.Name) {
			continue
		}
		quant, class, mix := o.Attn, spec.Attn, mixes[0]
		if pack.OfMLP(x.Name) {
			quant, class, mix = o.MLP, spec.MLP, mixes[1]
		}
		var d tensor.DType
		if quant.keeps() {
			d = stored(x.Name)
		} else {
			d = mix.Type(placeOf(p, x.Name, x.Cols))
		}
		if d != class.OfRow(x.Cols) {
			spec.Types[x.Name] = d
		}
	}
	return nil
}

// placeOf is where a model has the matrix that config.TensorShape calls name.
func placeOf(p config.ModelProfile, name string, cols int) tensor.Place {
	at := tensor.Place{Layers: p.Layers, Cols: cols, Experts: p.Experts()}
	if rest, ok := strings.CutPrefix(name, "layers."); ok {
		layer, in, _ := strings.Cut(rest, ".")
		at.Layer, _ = strconv.Atoi(layer)
		name = in
	}
	switch name {
	case "head":
		at.Role = tensor.HeadRole
	case "embed.tokens":
		if at.Role = tensor.EmbeddingRole; p.TiedHead {
			at.Role = tensor.HeadRole
		}
	case "attn.k.weight":
		at.Role = tensor.AttnKRole
	case "attn.v.weight":
		at.Role = tensor.AttnVRole
	case "attn.o.weight":
		at.Role = tensor.AttnOutRole
	case "mlp.down.weight", "moe.experts.down", "moe.shared.down.weight":
		at.Role = tensor.DownRole
	}
	return at
}

// replaced lists what gets another type than o asks for.
func (s *opened) replaced(o Options) (notices []string) {
	add := func(q Quant, what string, n int, of func(d tensor.DType, n int) tensor.DType) {
		if m, err := q.mix(); err == nil {
			if got := of(m.Base(), n); got != m.Base() {
				notice := fmt.Sprintf("%s with rows of %d elements are %v in place of %v", what, n, got, m.Base())
				if !slices.Contains(notices, notice) {
					notices = append(notices, notice)
				}
			}
		}
	}
	p := s.profile
	add(o.Attn, "matrices", p.HiddenSize, tensor.DType.OfRow)
	if p.EmbedDim != p.HiddenSize {
		add(o.Attn, "matrices", p.EmbedDim, tensor.DType.OfRow)
	}
	if p.Sparse() {
		add(o.MLP, "neurons", p.HiddenSize, pack.BundleType)
	} else {
		add(o.MLP, "matrices of MLPs", p.HiddenSize, tensor.DType.OfRow)
		add(o.MLP, "matrices of MLPs", p.FFN, tensor.DType.OfRow)
	}
	for i := range p.Layers {
		if m := p.MoE(i); m.Experts > 0 {
			add(o.MLP, "matrices of experts", m.Width, tensor.DType.OfRow)
			break
		}
	}
	return notices
}

func (s *opened) convert(ctx context.Context, dst string, o Options) (Result, error) {
	spec, err := s.spec(o)
	if err != nil {
		return Result{}, err
	}
	w, err := pack.Create(dst, spec)
	if err != nil {
		return Result{}, err
	}
	r := Result{Profile: s.profile, Attn: spec.Attn, MLP: spec.MLP, Bytes: w.Size(), Notices: slices.Concat(s.notices, s.replaced(o))}
	j := newJob(s, w, spec, o)
	if r.SourceSHA256, err = j.writeAll(ctx, o); err != nil {
		return Result{}, errors.Join(err, w.Abort())
	}
	if err := w.Commit(r.SourceSHA256); err != nil {
		return Result{}, err
	}
	if j.otherHead {
		r.Notices = append(r.Notices, fmt.Sprintf("the stored %s differs from the token embedding and is left out, since config.json ties the two (as transformers before 5 have it; later ones take the stored head, which \"tie_word_embeddings\": false does here)", s.tensors.Head.Name))
	}
	return r, nil
}

// writeAll writes every part of the pack, with a few workers that take tasks in
// their order, and meanwhile hashes the source.
func (j *job) writeAll(ctx context.Context, o Options) (hash string, err error) {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	g, ctx := errgroup.WithContext(ctx)
	tasks := make(chan task)
	g.Go(func() error {
		defer close(tasks)
		return j.tasks(ctx, tasks, o.OnePass != nil)
	})
	for range workers {
		g.Go(func() error {
			b := newBuffers(stripBytes / workers)
			for t := range tasks {
				if err := t(ctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if o.OnePass != nil {
		if err := g.Wait(); err != nil {
			return "", err
		}
		return o.OnePass()
	}
	g.Go(func() (err error) {
		if hash = o.SourceSHA256; hash == "" {
			hash, err = j.source.hash(ctx)
		}
		return err
	})
	g.Go(func() (err error) {
		if head := j.source.tensors.Head; head != nil {
			j.otherHead, err = differ(ctx, head, j.source.tensors.Resident["embed.tokens"])
		}
		return err
	})
	err = g.Wait()
	return hash, err
}

// The buffers of all workers together stay below 16 MiB: half of it strips of
// fc2, the other half of these for each worker.
const (
	maxWorkers = 4
	stripBytes = 8 << 20
	blockBytes = 1 << 20   // a checked block of a resident tensor
	pieceBytes = 256 << 10 // source bytes of rows
	outBytes   = 512 << 10 // bundles
)

// buffers are one worker's. They grow only for rows longer than they are.
type buffers struct {
	block, piece, out, strip []byte
	row                      []float32
}

func newBuffers(strip int) *buffers {
	return &buffers{
		block: make([]byte, blockBytes),
		piece: make([]byte, pieceBytes),
		out:   make([]byte, outBytes),
		strip: make([]byte, strip),
	}
}

// sized returns n bytes of *b, which grows if it must.
func sized(b *[]byte, n int) []byte {
	if n > len(*b) {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// A task writes one part of the pack.
type task func(context.Context, *buffers) error

// A job is one conversion under way.
type job struct {
	source *opened
	w      *pack.Writer
	spec   pack.Spec
	ffn, d int
	layers []*layerJob

	otherHead bool // a tied model stores a head of its own

	mu       sync.Mutex // held over calls of progress
	done     int64
	total    int64
	progress func(what string, done, total int64)
}

func newJob(s *opened, w *pack.Writer, spec pack.Spec, o Options) *job {
	j := &job{source: s, w: w, spec: spec, ffn: s.profile.FFN, d: s.profile.HiddenSize,
		total: w.WeightBytes(), progress: o.Progress}
	for i := range s.tensors.Layers {
		j.layers = append(j.layers, newLayerJob(j, i))
	}
	return j
}

// advance tells of n more bytes done.
func (j *job) advance(what string, n int64) {
	if j.progress == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done += n
	j.progress(what, j.done, j.total)
}

// tasks sends every task: those of what lies outside the layers, then layer by
// layer. With onePass all of a layer is done before the next one's first task.
func (j *job) tasks(ctx context.Context, tasks chan<- task, onePass bool) error {
	var running sync.WaitGroup
	send := func(t task) {
		running.Add(1)
		counted := func(ctx context.Context, buf *buffers) error {
			defer running.Done()
			return t(ctx, buf)
		}
		select {
		case tasks <- counted:
		case <-ctx.Done():
			running.Done()
		}
	}
	residents := func(prefix string) {
		for _, t := range j.w.Tensors() {
			if t.Kind != pack.Matrix && t.Kind != pack.Vector || layerPrefix(t.Name) != prefix {
				continue
			}
			for b := range t.Blocks() {
				send(func(ctx context.Context, buf *buffers) error { return j.block(ctx, t, b, buf) })
			}
		}
	}
	neurons := func(i int) {
		l := j.layers[i]
		for first := 0; first < j.ffn; first += l.unit {
			send(func(ctx context.Context, buf *buffers) error { return l.neurons(ctx, first, buf) })
			// The next layer's fc2 is read while this layer is worked on.
			if first == 0 && i+1 < len(j.layers) && !onePass {
				send(j.layers[i+1].warm)
			}
		}
	}
	residents("")
	for i := range j.spec.Profile.Layers {
		residents("layers." + strconv.Itoa(i) + ".")
		if len(j.layers) > 0 {
			neurons(i)
		}
		for e := range j.spec.Profile.MoE(i).Experts {
			send(func(ctx context.Context, buf *buffers) error { return j.expert(ctx, i, e, buf) })
		}
		if onePass {
			running.Wait()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// layerPrefix is how the names of a layer's tensors begin, "" for a name of none.
func layerPrefix(name string) string {
	parts := strings.SplitAfterN(name, ".", 3)
	if parts[0] != "layers." || len(parts) < 3 {
		return ""
	}
	return parts[0] + parts[1]
}

// block converts one block of a resident matrix or vector.
func (j *job) block(ctx context.Context, t pack.Tensor, b int, buf *buffers) error {
	from := j.source.tensors.Resident[t.Name]
	dtype := t.Elem
	row, rows := t.Block(b)
	n, at := rows*t.Cols, row*t.Cols
	out := sized(&buf.block, int(dtype.RowBytes(n)))
	// Rows are whole blocks of both types, pieces of any.
	step := len(buf.piece) / from.DType.BlockBytes() * from.DType.BlockElems() / tensor.SuperBlock * tensor.SuperBlock
	for i := 0; i < n; i += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := buf.piece[:from.DType.RowBytes(min(step, n-i))]
		if _, err := from.ReadAt(piece, from.DType.RowBytes(at+i)); err != nil {
			return err
		}
		if err := narrow(out[dtype.RowBytes(i):], dtype, piece, from.DType); err != nil {
			return j.badValue(from, err)
		}
	}
	if err := j.w.WriteBlock(t, b, out); err != nil {
		return err
	}
	j.advance(t.Name, int64(len(out)))
	return nil
}

func (j *job) badValue(t *source.Tensor, err error) error {
	return fmt.Errorf("convert: %s: tensor %q: %w", j.source.name, t.Name, err)
}
