package config

// Generation is what a checkpoint's generation_config.json says of how its text
// is to be generated, where whoever asks for text says nothing else. It is zero
// where there is no such file.
type Generation struct {
	EOS  []int32  `json:"eos,omitempty"`  // end a text besides the profile's own
	Stop []string `json:"stop,omitempty"` // end a text before they begin
	// MaxTokens is the most tokens to generate.
	MaxTokens int `json:"max_tokens,omitempty"`
	// Sample says to draw tokens rather than take the likeliest. What follows is
	// zero where it is off or not said.
	Sample            bool    `json:"sample,omitempty"`
	Temperature       float32 `json:"temperature,omitempty"`
	TopK              int     `json:"top_k,omitempty"`
	TopP              float32 `json:"top_p,omitempty"`
	MinP              float32 `json:"min_p,omitempty"`
	RepetitionPenalty float32 `json:"repetition_penalty,omitempty"`
}
