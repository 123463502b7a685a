package disk

import "fmt"

// expertParts is the number of an expert's parts: gate, up, down.
const expertParts = 3

// expertRead is one read of an expert: bytes from off on, rounded out to what the
// file asks, to at in its slot.
type expertRead struct{ off, bytes, at int64 }

// expertPlace says how an expert is read, and where in its slot each part then begins.
// A part has room for all that is read with it. Parts that follow one another in the
// file are one read.
func (s *DiskWeightStore) expertPlace(layer, expert int) (reads [expertParts]expertRead, n int, parts [expertParts]int64) {
	align, room := s.file.Align(), int64(0)
	first := [expertParts]int64{} // of each read's bytes that are wanted
	for i, x := range s.pack.ExpertParts(layer) {
		off, bytes := s.pack.ExpertOffset(layer, i, expert), x.Bytes()
		if last := n - 1; n > 0 && off == first[last]+reads[last].bytes {
			parts[i] = reads[last].at + off - reads[last].off
			reads[last].bytes += bytes
		} else {
			reads[n], first[n] = expertRead{off / align * align, bytes, room}, off
			parts[i] = room + off - reads[n].off
			n++
		}
		room += s.pack.ExpertPartRoom(layer, i)
	}
	for i := range reads[:n] {
		r := &reads[i]
		end := first[i] + r.bytes
		if s.pack.Checksums() {
			end = s.pack.ExpertOffset(layer, 0, expert) + s.pack.ExpertStride(layer)
		}
		r.bytes = (end+align-1)/align*align - r.off
	}
	return reads, n, parts
}

// ExpertParts is where the parts of an expert of a layer lie in the slot that it is
// read into.
func (s *DiskWeightStore) ExpertParts(layer, expert int, slot []byte) (parts [expertParts][]byte) {
	_, _, at := s.expertPlace(layer, expert)
	for i, x := range s.pack.ExpertParts(layer) {
		parts[i] = slot[at[i]:][:x.Bytes():x.Bytes()]
	}
	return parts
}

// StartExpert reads an expert of a layer into its slot, page-aligned memory of the
// layer's ExpertRoom. Where its parts lie apart that is several reads, of which the
// first stands for all.
func (a *AsyncWeightTransfer) StartExpert(layer, expert int, slot []byte) *Read {
	reads, n, _ := a.store.expertPlace(layer, expert)
	var head, last *Read
	for _, x := range reads[:n] {
		r := a.read()
		r.layer, r.first, r.expert = layer, expert, slot
		r.users = 1
		r.bufs = append(r.bufs, slot[x.at:][:x.bytes])
		a.start(r, x.off)
		if last == nil {
			head = r
		} else {
			last.more = r
		}
		last = r
	}
	return head
}

// checkExpert is what Wait returns of a read of an expert, or of a part of one.
func (r *Read) checkExpert() error {
	s := r.transfer.store
	if r.failure != nil {
		return fmt.Errorf("disk: expert %d of layer %d: %w", r.first, r.layer, r.failure)
	}
	if !s.pack.Checksums() {
		return nil
	}
	n := s.pack.ExpertNumber(r.layer, r.first)
	if checked(s.bundleChecked, n) {
		return nil
	}
	if err := s.pack.CheckExpert(r.layer, r.first, r.bufs[0][:s.pack.ExpertStride(r.layer)]); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	setChecked(s.bundleChecked, n)
	return nil
}
