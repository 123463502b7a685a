package placement

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/sparseflow/sparseflow/internal/cache"
)

// How routers use experts, counted in public traces of Qwen3-30B, Gemma 4 26B and
// gpt-oss-120b (docs/cache.md): within a text the n-th hottest expert of a layer is
// wanted about exp(-n / (0.1 E)) as often as the hottest, the first layer is flatter
// and the last third steeper, and a token keeps each of the last token's experts with
// a probability of 0.2 beside that. A new topic keeps half of the ranks.
const (
	routeDecay      = 0.10 // of the number of experts
	routeDecayFirst = 0.20
	routeDecayDeep  = 0.08
	routeKeeps      = 0.2
	topicTokens     = 256
	routedTokens    = 4 * topicTokens // that are followed
)

// usage is how often experts are wanted, by rank: the sums of the hottest, [experts],
// the last of which is 1.
type usage []float64

// assumedUsage is that of a layer at a relative depth from 0 to 1.
func assumedUsage(experts int, depth float64) usage {
	decay := routeDecay
	switch {
	case depth == 0:
		decay = routeDecayFirst
	case depth > 2.0/3:
		decay = routeDecayDeep
	}
	u := make(usage, experts)
	for i := range u {
		u[i] = math.Exp(-float64(i) / (decay * float64(experts)))
	}
	return u.summed()
}

// countedUsage is that of experts that were wanted so often. Half a use more stands
// for what was too seldom to be seen.
func countedUsage(counts []uint32) usage {
	u := make(usage, len(counts))
	for i, id := range cache.Hottest(counts) {
		u[i] = float64(counts[id]) + 0.5
	}
	return u.summed()
}

func (u usage) summed() usage {
	sum := 0.0
	for i := range u {
		sum += u[i]
		u[i] = sum
	}
	for i := range u {
		u[i] /= sum
	}
	return u
}

// hits is, [experts+1], the share of wanted experts that a cache of so many slots
// holds which gives up the one that was wanted longest ago, for tokens that want topK
// each and, with topics, change what they are about. All sizes of cache are followed
// at once: an expert is in those that have more slots than experts were wanted since
// it was (Mattson et al., IBM Systems Journal 9(2), 1970). The first topic warms.
func (u usage) hits(topK int, topics bool) []float64 {
	n := len(u)
	rng := rand.New(rand.NewPCG(1, 2))
	expert, recent := rng.Perm(n), []int{} // by rank; by last use
	found, wanted := make([]float64, n+1), 0.0
	var last []int
	for token := range routedTokens {
		if topics && token%topicTokens == 0 {
			renew(expert, rng)
		}
		last = u.route(topK, last, expert, rng)
		if token >= topicTokens {
			wanted += float64(len(last))
			for _, id := range last { // none of a token's pushes out another
				if at := slices.Index(recent, id); at >= 0 {
					found[at+1]++
				}
			}
		}
		for _, id := range last {
			at := slices.Index(recent, id)
			if at < 0 {
				recent, at = append(recent, id), len(recent)
			}
			copy(recent[1:], recent[:at])
			recent[0] = id
		}
	}
	for i := range n {
		found[i+1] += found[i]
	}
	for i := range found {
		found[i] /= wanted
	}
	found[n] = 1
	return found
}

// route is what a token wants after one that wanted last.
func (u usage) route(topK int, last, expert []int, rng *rand.Rand) []int {
	ids := make([]int, 0, topK)
	for _, id := range last {
		if rng.Float64() < routeKeeps {
			ids = append(ids, id)
		}
	}
	for len(ids) < topK {
		id := expert[min(sort.SearchFloat64s(u, rng.Float64()), len(u)-1)]
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// renew gives half of the ranks, any, other experts.
func renew(expert []int, rng *rand.Rand) {
	ranks := rng.Perm(len(expert))[:len(expert)/2]
	old := make([]int, len(ranks))
	for i, r := range ranks {
		old[i] = expert[r]
	}
	for i, j := range rng.Perm(len(ranks)) {
		expert[ranks[i]] = old[j]
	}
}

// routed adds what a layer's experts cost a token.
func (p *planner) routed(t *PerToken, l int) {
	k, slots := float64(p.profile.MoE(l).TopK), p.Slots[l]
	missed := k * (1 - p.hitRate(l, slots))
	t.Experts += k
	t.FastBytes += int64(k) * p.in.Layout.ExpertBytes(l)
	read := int64(missed * float64(p.units.strides[l]))
	t.SlowBytes += read
	t.ExpertBytes += read
	t.Misses += missed
	t.Reads += missed * float64(len(p.in.Layout.ExpertParts(l)))
}

// hitRate is the share of the experts that a token wants of a layer which are among
// those in its slots.
func (p *planner) hitRate(l, slots int) float64 {
	m := p.profile.MoE(l)
	var u usage
	counts := p.in.Counts
	if counts != nil {
		u = countedUsage(counts.Neurons[l])
	} else {
		u = assumedUsage(m.Experts, float64(l)/float64(max(1, p.profile.Layers-1)))
	}
	switch {
	case slots == m.Experts:
		return 1
	case slots >= m.TopK:
		return p.hitsOf(u, m.TopK)[slots]
	case slots == 0:
		return 0
	case counts != nil: // too few to evict from, so that the hottest stay
		return u[slots-1]
	}
	return float64(slots) / float64(m.Experts)
}

// hitsOf is the usage's hits, which layers that are used alike have in common.
func (p *planner) hitsOf(u usage, topK int) []float64 {
	for _, known := range p.routes {
		if known.topK == topK && slices.Equal(known.usage, u) {
			return known.hits
		}
	}
	r := route{u, topK, u.hits(topK, p.in.Counts == nil)}
	p.routes = append(p.routes, r)
	return r.hits
}

// route is the hits of a usage.
type route struct {
	usage usage
	topK  int
	hits  []float64
}
