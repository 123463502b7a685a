package predict

import "math"

// Moments is how a sketch's score relates to a neuron's true pre-activation on
// real text: pre = Slope score + Offset + normal noise of deviation Sigma.
type Moments struct {
	Slope, Offset, Sigma float64
}

// Fit is the least-squares line through a neuron's scores and true
// pre-activations.
func Fit(score, pre []float32) Moments {
	n := float64(len(score))
	var ms, mp float64
	for i := range score {
		ms += float64(score[i])
		mp += float64(pre[i])
	}
	ms, mp = ms/n, mp/n
	var ss, sp, pp float64
	for i := range score {
		ds, dp := float64(score[i])-ms, float64(pre[i])-mp
		ss += ds * ds
		sp += ds * dp
		pp += dp * dp
	}
	if ss == 0 {
		return Moments{Offset: mp, Sigma: math.Sqrt(pp / n)}
	}
	slope := sp / ss
	return Moments{Slope: slope, Offset: mp - slope*ms, Sigma: math.Sqrt(max(0, pp-slope*sp) / n)}
}

// Energy is E[max(0, pre)^2] of a neuron with a score.
func (m Moments) Energy(score float64) float64 { return energy(m.Slope*score+m.Offset, m.Sigma) }

// energy is E[max(0, z)^2] for z normal with mean mu and deviation sigma. Times
// the squared length of a neuron's second half it is what leaving the neuron
// out is expected to add to the squared error of the MLP's output.
//
// With Phi and phi the normal distribution and density at mu/sigma it is
// (mu^2 + sigma^2) Phi + mu sigma phi, from integrating by parts.
func energy(mu, sigma float64) float64 {
	if sigma == 0 {
		return max(0, mu) * max(0, mu)
	}
	z := mu / sigma
	cdf := 0.5 * math.Erfc(-z/math.Sqrt2)
	pdf := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	return max(0, (mu*mu+sigma*sigma)*cdf+mu*sigma*pdf)
}

// bar is the mean at which energy is least: neurons expected above it are
// worth computing. It is infinite where least is.
func bar(least, sigma float64) float64 {
	hi := math.Sqrt(least) // energy(mu, .) is at least mu^2 for mu > 0
	if sigma == 0 || math.IsInf(least, 1) {
		return hi
	}
	lo := -12 * sigma // below it nothing fires in a lifetime
	for range 50 {
		if mid := (lo + hi) / 2; energy(mid, sigma) < least {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}
