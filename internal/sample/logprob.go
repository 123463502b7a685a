package sample

import "math"

// Argmax returns the index of the largest logit, the first among equals. NaN
// counts as larger than any number, so the first NaN wins: both as torch.argmax
// has it on a CPU. Without logits it returns -1. [Sampler.Sample] is the one that
// refuses NaN.
func Argmax(logits []float32) int32 {
	best := -1
	for i, x := range logits {
		if x != x {
			return int32(i)
		}
		if best < 0 || x > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// Logprob returns the natural logarithm of softmax(logits)[id], accumulated in
// float64 and stable for logits of any size. It is NaN where a logit is NaN or
// +Inf. logits is [vocab]; an id outside it is a bug of the caller and panics as
// any index does.
func Logprob(logits []float32, id int32) float64 {
	return float64(logits[id]) - logSumExp(logits)
}

// LogSoftmax writes the log-probability of every token to dst, [vocab] nats, and
// returns it; a dst shorter than logits is replaced by a new slice. Values are as
// in [Logprob].
func LogSoftmax(dst []float64, logits []float32) []float64 {
	if len(dst) < len(logits) {
		dst = make([]float64, len(logits))
	}
	dst = dst[:len(logits)]
	norm := logSumExp(logits)
	for i, x := range logits {
		dst[i] = float64(x) - norm
	}
	return dst
}

// logSumExp returns log(sum(exp(logits))) with the largest term factored out, so
// that no exponential overflows and the sum is at least 1.
func logSumExp(logits []float32) float64 {
	if len(logits) == 0 {
		return math.Inf(-1)
	}
	largest := float64(logits[Argmax(logits)])
	var sum float64
	for _, x := range logits {
		sum += math.Exp(float64(x) - largest)
	}
	return largest + math.Log(sum)
}
