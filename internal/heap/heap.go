// Package heap is a heap of numbers whose slice its owner may look through.
package heap

// Keys is numbers in the order of a heap: the least is Keys[0].
type Keys []uint64

// Init makes a heap of numbers in any order.
func (h Keys) Init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.Down(i)
	}
}

// Push adds a number.
func (h *Keys) Push(k uint64) {
	*h = append(*h, k)
	h.Up(len(*h) - 1)
}

// Pop takes the least number off.
func (h *Keys) Pop() uint64 {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	*h = s[:last]
	if last > 0 {
		h.Down(0)
	}
	return top
}

// Up restores the order after number i fell.
func (h Keys) Up(i int) {
	k := h[i]
	for i > 0 {
		above := (i - 1) / 2
		if h[above] <= k {
			break
		}
		h[i] = h[above]
		i = above
	}
	h[i] = k
}

// Down restores the order after number i rose.
func (h Keys) Down(i int) {
	k := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[child] >= k {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = k
}
