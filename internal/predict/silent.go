package predict

// SilentMultiple is how many neurons are computed for each that a sketch takes
// for active, where nothing better is known of them.
const SilentMultiple = 2

// Silent is a calibrated predictor of which some neurons never fired while it
// was calibrated. Nothing is known of when they do, so they keep the rule of a
// sketch without a calibration: of those of a layer, a token gets
// SilentMultiple for each that scores above zero, the highest first.
type Silent struct {
	ActivationPredictor
	IDs [][]int32 // [layers] of these neurons

	selection Selection
	scores    []float32 // of one token's silent neurons
}

// Scores sets scores so that the wanted neurons are those above zero.
func (s *Silent) Scores(layer, tokens int, x, scores []float32) error {
	if err := s.ActivationPredictor.Scores(layer, tokens, x, scores); err != nil {
		return err
	}
	ids := s.IDs[layer]
	if len(ids) == 0 {
		return nil
	}
	s.selection.Multiple = SilentMultiple
	ffn := len(scores) / tokens
	for t := range tokens {
		row := scores[t*ffn : (t+1)*ffn]
		s.scores = s.scores[:0]
		for _, i := range ids {
			s.scores = append(s.scores, row[i])
		}
		bar := s.selection.Threshold(s.scores)
		for _, i := range ids {
			row[i] -= bar // above zero exactly where the score was above bar
		}
	}
	return nil
}
