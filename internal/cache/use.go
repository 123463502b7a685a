package cache

// UseSection is the section of a sidecar that keeps how a model's experts were used
// when it ran, as CountsSection keeps what a profile counted.
const UseSection = "use"

// pastTokens is how many tokens of the past count at most: some long conversations, so
// that what is hot now is known after one that is about something else.
const pastTokens = 4096

// After is what is counted in all where past, which may be nil, was counted before c.
// What is long ago counts the less the more came since.
func (c *Counts) After(past *Counts) *Counts {
	all := NewCounts(len(c.Neurons), len(c.Neurons[0]))
	weight, of := 0, 1
	if past != nil {
		weight, of = min(past.Tokens, pastTokens), past.Tokens
	}
	all.Tokens = weight + c.Tokens
	for l, n := range all.Neurons {
		for i := range n {
			if n[i] = c.Neurons[l][i]; past != nil {
				n[i] += uint32(uint64(past.Neurons[l][i]) * uint64(weight) / uint64(of))
			}
		}
	}
	return all
}
