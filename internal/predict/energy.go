package predict

import (
	"math"
	"sync"
)

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
// the squared length of a neuron's last part it is what leaving the neuron
// out is expected to add to the squared error of the MLP's output.
//
// With Phi and phi the normal distribution and density at mu/sigma it is
// (mu^2 + sigma^2) Phi + mu sigma phi, from integrating by parts.
func energy(mu, sigma float64) float64 {
	if sigma == 0 {
		return max(0, mu) * max(0, mu)
	}
	e, _ := energySlope(mu, sigma)
	return e
}

// energySlope is energy for a sigma above zero, and its derivative by mu, which
// is 2 (mu Phi + sigma phi).
func energySlope(mu, sigma float64) (e, slope float64) {
	z := mu / sigma
	cdf := 0.5 * math.Erfc(-z/math.Sqrt2)
	pdf := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	return max(0, (mu*mu+sigma*sigma)*cdf+mu*sigma*pdf), 2 * (mu*cdf + sigma*pdf)
}

// bar is the mean at which energy is least: neurons expected above it are
// worth computing. It is infinite where least is.
//
// It is sigma times the bar for least/sigma^2 and a deviation of 1, a function
// of one number, which is tabulated: a model has one bar for each neuron, at
// every start and whenever a layer's threshold changes.
func bar(least, sigma float64) float64 {
	if sigma == 0 || math.IsInf(least, 1) {
		return math.Sqrt(least)
	}
	return sigma * unitBars().at(least/(sigma*sigma))
}

// unitBar is bar for a deviation of 1.
//
// The logarithm of energy rises in mu and bends down (energy is a convolution of
// functions whose logarithms bend down), so that Newton's method on it, begun
// below the bar, stays below and ends in a few steps.
func unitBar(least float64) float64 {
	hi := math.Sqrt(least) // energy(mu, .) is at least mu^2 for mu > 0
	mu := -12.0            // below it nothing fires in a lifetime
	if least > 1 {
		mu = math.Sqrt(least - 1) // energy(mu, .) is at most E[z^2]
	}
	for range 50 {
		e, slope := energySlope(mu, 1)
		if e >= least || slope <= 0 {
			break
		}
		step := math.Log(least/e) * e / slope
		mu = min(mu+step, hi)
		if step < 1e-8*(math.Abs(mu)+1) {
			break // the next one would be about the square of that
		}
	}
	return mu
}

const (
	// The logarithms of what is tabulated. A bar below is 8 deviations down.
	minLogBar, maxLogBar = -36, 12
	// barSteps is the nodes to a unit: cubics between them are as exact as
	// unitBar.
	barSteps = 128
)

// barTable is unitBar and its derivative by the logarithm of least, at nodes.
type barTable struct {
	bar, slope [(maxLogBar-minLogBar)*barSteps + 1]float64
}

var unitBars = sync.OnceValue(func() *barTable {
	t := new(barTable)
	for i := range t.bar {
		mu := unitBar(math.Exp(minLogBar + float64(i)/barSteps))
		e, slope := energySlope(mu, 1)
		t.bar[i], t.slope[i] = mu, e/slope/barSteps
	}
	return t
})

// at is unitBar(least), by the cubic that has bar and slope of both nodes about
// it (Hermite interpolation).
func (t *barTable) at(least float64) float64 {
	x := (math.Log(least) - minLogBar) * barSteps
	if !(x >= 0 && x < float64(len(t.bar)-1)) {
		return unitBar(least)
	}
	i := int(x)
	x -= float64(i)
	y := 1 - x
	return y*y*((1+2*x)*t.bar[i]+x*t.slope[i]) + x*x*((1+2*y)*t.bar[i+1]-y*t.slope[i+1])
}
