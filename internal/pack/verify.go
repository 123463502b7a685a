package pack

import (
	"context"
	"hash/crc32"
	"strings"
)

// verifyBytes is how much Verify reads at a time, unless one bundle is longer.
const verifyBytes = 4 << 20

// Verify reads the whole pack at path and checks every byte of it. The error
// names the first damaged part and its offset ([DamageError]). progress, if not
// nil, is told the bytes checked so far and in all.
func Verify(ctx context.Context, path string, progress func(done, total int64)) error {
	p, err := Open(path)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.verify(ctx, progress)
}

// verify checks everything that Open did not, in the order of the file.
func (p *Pack) verify(ctx context.Context, progress func(done, total int64)) error {
	v := verifier{Pack: p, ctx: ctx, buf: make([]byte, max(p.stride, min(verifyBytes, p.size))), progress: progress}
	layer := 0 // the next one of bundles or experts
	for _, e := range p.entries {
		var err error
		t, resident := p.Tensor(e.Name)
		switch {
		case resident:
			err = v.tensor(t)
		case e.Name == bundlesName(layer):
			err = v.bundlesOf(layer)
			layer++
		case len(p.experts.parts) > 0 && strings.HasSuffix(e.Name, ".moe.experts"):
			for e.Name != expertsName(layer) {
				layer++ // none there
			}
			err = v.expertsOf(layer)
			layer++
		case strings.HasPrefix(e.Name, padPrefix):
			err = v.chunk(e.Offset, e.Bytes, func(p []byte) error { return checkZero(v.path, e.Name, e.Offset, p) })
		default: // a table, which Open checked
		}
		if err != nil {
			return err
		}
	}
	if progress != nil {
		progress(p.size, p.size)
	}
	return nil
}

type verifier struct {
	*Pack
	ctx      context.Context
	buf      []byte
	progress func(done, total int64)
}

func (v *verifier) tensor(t Tensor) error {
	for b := range t.Blocks() {
		offset, n := t.blockSpan(b)
		if err := v.chunk(offset, n, func(p []byte) error { return v.CheckBlock(t, b, p) }); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) bundlesOf(layer int) error {
	ffn, stride := v.profile.FFN, int(v.stride)
	step := max(1, len(v.buf)/stride)
	for i := 0; i < ffn; i += step {
		n := min(step, ffn-i)
		err := v.chunk(v.bundleOffset(layer, i), int64(n*stride), func(p []byte) error {
			for j := range n {
				if err := v.CheckBundle(layer, i+j, p[j*stride:(j+1)*stride]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// expertsOf checks a layer's experts, each in pieces.
func (v *verifier) expertsOf(layer int) error {
	stride := v.ExpertStride(layer)
	for e := range v.profile.MoE(layer).Experts {
		crc, at := uint32(0), v.ExpertOffset(layer, 0, e)
		for end := at + stride; at < end; at += int64(len(v.buf)) {
			err := v.chunk(at, min(int64(len(v.buf)), end-at), func(p []byte) error {
				crc = crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), p)
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := v.checkExpert(layer, e, crc); err != nil {
			return err
		}
	}
	return nil
}

// chunk reads n bytes and hands them to check.
func (v *verifier) chunk(offset, n int64, check func([]byte) error) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	if n > int64(len(v.buf)) { // a row of many MiB
		v.buf = make([]byte, n)
	}
	b := v.buf[:n]
	if err := v.readInto(b, offset); err != nil {
		return err
	}
	if err := check(b); err != nil {
		return err
	}
	if v.progress != nil {
		v.progress(offset+n, v.size)
	}
	return nil
}
