package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// orderName is the name of a layer's order.
func orderName(layer int) string { return "layers." + strconv.Itoa(layer) + ".mlp.order" }

// Ordered reports whether bundles lie in another order than that of the
// checkpoint.
func (l *Layout) Ordered() bool { return l.ordered }

// Order reads which neuron each bundle of a layer is, [ffn]; nil where bundle i
// is neuron i.
func (p *Pack) Order(layer int) ([]int32, error) {
	if !p.ordered {
		return nil, nil
	}
	b, err := p.ReadTensor(orderName(layer))
	if err != nil {
		return nil, err
	}
	order := make([]int32, p.profile.FFN)
	for i := range order {
		// What does not fit comes out negative, which no neuron is.
		order[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	if err := checkOrder(order, p.profile.FFN); err != nil {
		return nil, fmt.Errorf("pack: read %s: %s: %w; pack the model again", p.path, orderName(layer), err)
	}
	return order, nil
}

// checkOrder reports an order that does not have each of ffn neurons once.
func checkOrder(order []int32, ffn int) error {
	if len(order) != ffn {
		return fmt.Errorf("got an order of %d neurons, want %d", len(order), ffn)
	}
	seen := make([]bool, ffn)
	for i, id := range order {
		if id < 0 || int(id) >= ffn || seen[id] {
			return fmt.Errorf("got neuron %d at place %d, want each from 0 to %d once", id, i, ffn-1)
		}
		seen[id] = true
	}
	return nil
}

// Reorder puts the bundles of the pack at path into another order: order(l)[i]
// is the neuron, as the checkpoint counts, that comes i-th in layer l. Nothing
// else changes. The new file takes the old one's place when it is complete and
// synced, or not at all; meanwhile there must be room for both. Every part is
// checked against its checksum on the way. progress, if not nil, is told the
// bytes written so far and in all.
func Reorder(ctx context.Context, path string, order func(layer int) []int32, progress func(done, total int64)) (err error) {
	from, err := Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if !from.profile.Sparse() {
		return fmt.Errorf("pack: reorder %s: got a model with activation %s, which has no neurons to put in order", path, from.profile.Activation)
	}
	files := make(map[string][]byte, len(from.tokenizer))
	for name := range from.tokenizer {
		if files[name], err = from.ReadTensor(tokenizerPrefix + name); err != nil {
			return err
		}
	}
	to, err := Create(path, Spec{Profile: from.profile, Name: from.name, Attn: from.attn, MLP: from.mlp, Types: from.types, Tokenizer: files, Ordered: true})
	if err != nil {
		return err
	}
	r := reorderer{ctx: ctx, from: from, to: to, progress: progress}
	if err := r.run(order); err != nil {
		return errors.Join(err, to.Abort())
	}
	return to.Commit(from.source)
}

// reorderer copies one pack into another.
type reorderer struct {
	ctx      context.Context
	from     *Pack
	to       *Writer
	done     int64
	progress func(done, total int64)
}

func (r *reorderer) run(order func(layer int) []int32) error {
	for _, t := range r.to.tensors {
		if t.Kind == Tokenizer || t.Kind == Order {
			continue // written by Create, and with the layer's bundles
		}
		old, _ := r.from.Tensor(t.Name)
		for b := range t.Blocks() {
			data, err := r.from.readBlock(old, b)
			if err != nil {
				return err
			}
			if err := r.wrote(len(data), r.to.WriteBlock(t, b, data)); err != nil {
				return err
			}
		}
	}
	for l := range r.from.profile.Layers {
		if err := r.layer(l, order(l)); err != nil {
			return err
		}
	}
	return nil
}

// wrote tells of n bytes, unless writing them failed, and stops when the context
// ends.
func (r *reorderer) wrote(n int, err error) error {
	if r.done += int64(n); r.progress != nil && err == nil {
		r.progress(r.done, r.to.size)
	}
	if err == nil {
		err = r.ctx.Err()
	}
	return err
}

// layer writes a layer's order and its bundles: read one after the other and
// written to their new places, since the system gathers writes better than it
// foresees reads.
func (r *reorderer) layer(layer int, order []int32) error {
	ffn := r.from.profile.FFN
	if err := checkOrder(order, ffn); err != nil {
		return fmt.Errorf("pack: reorder %s: layer %d: %w", r.from.path, layer, err)
	}
	table := make([]byte, 0, 4*ffn)
	place := make([]int, ffn)
	for i, id := range order {
		table = binary.LittleEndian.AppendUint32(table, uint32(id))
		place[id] = i
	}
	t, _ := r.to.Tensor(orderName(layer))
	if err := r.to.WriteTensor(t, table); err != nil {
		return err
	}
	now, err := r.from.Order(layer)
	if err != nil {
		return err
	}
	in, out := make([]byte, r.from.stride), make([]byte, r.to.stride) // out's padding stays zero
	for i := range ffn {
		id := int32(i)
		if now != nil {
			id = now[i]
		}
		if err := r.from.readInto(in, r.from.bundleOffset(layer, i)); err != nil {
			return err
		}
		if err := r.from.CheckBundle(layer, i, in); err != nil {
			return err
		}
		copy(out, in[:r.from.BundleBytes()])
		if err := r.wrote(len(out), r.to.WriteBundles(layer, place[id], out)); err != nil {
			return err
		}
	}
	return nil
}
