package token

// Patterns of the models that tokenizer.ggml.pre names, each as its own
// tokenizer.json has it.
const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	afterWords   = ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	word         = `[^\r\n\p{L}\p{N}]?\p{L}+`

	cl100k       = contractions + `|` + word + `|\p{N}{1,3}|` + afterWords
	singleDigits = contractions + `|` + word + `|\p{N}|` + afterWords
	qwen35       = contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	// Words whose capitals come first, and words of capitals.
	upper, lower = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	lead         = `[^\r\n\p{L}\p{N}]?`
	slashTail    = ` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	casedWords   = lead + upper + `*` + lower + `+` + contractions + `?|` + lead + upper + `+` + lower + `*` + contractions + `?|`
	o200k        = casedWords + `\p{N}{1,3}|` + slashTail
	o200kDigits  = casedWords + `\p{N}|` + slashTail
	tekken       = lead + upper + `*` + lower + `+|` + lead + upper + `+` + lower + `*|\p{N}|` + slashTail

	noHan       = `&&[^\p{Han}]]`
	upperNoHan  = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}` + noHan
	lowerNoHan  = `[\p{Ll}\p{Lm}\p{Lo}\p{M}` + noHan
	kimi        = `\p{Han}+|` + lead + upperNoHan + `*` + lowerNoHan + `+` + contractions + `?|` + lead + upperNoHan + `+` + lowerNoHan + `*` + contractions + `?|\p{N}{1,3}|` + afterWords
	deepseekCJK = `[一-龥぀-ゟ゠-ヿ]+`
	deepseek    = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
	spark       = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+"

	// DeepSeek's first tokenizer lists the cased letters that Unicode 10 had,
	// less some scripts.
	casedLetters = `[\p{Lu}\p{Ll}\p{Lt}&&[^ՠ-ֈა-ჿⴀ-ⴭꞐ-ꟿꬰ-ꭨ𐕰-𐖼𐵐-𐶅𖹀-𖹿\x{1D400}-\x{1D7FF}\x{1DF00}-\x{1DF2A}]]+`
	olderCJK     = `[一-龥ࠀ-一가-퟿]+`
	bloom        = ` ?[^(\s|.,!?…。，、।۔،)]+`
	falconMarks  = "[\\p{P}\\$\\+<=>\\^~\\|`]+"
)

// preTokenizer is how the names of tokenizer.ggml.pre cut text: by each pattern
// in turn.
type preTokenizer struct {
	patterns   []string
	names      []string
	nfc        bool // the models' own files normalize, though llama.cpp does not
	wholeWords bool // a whole piece in the vocabulary wins before merges
	addBOS     bool // where the file does not say
}

// preTokenizers are the names that llama.cpp 0.5.0 knows for byte-level models.
var preTokenizers = []preTokenizer{
	{patterns: []string{gpt2Pattern}, names: []string{
		"gpt-2", "phi-2", "mpt", "jais", "trillion", "granite-docling", "gigachat", "exaone4", "mellum", "a.x-4.0", "modern-bert",
		"jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe",
	}},
	{patterns: []string{gpt2Pattern}, names: []string{"olmo"}, nfc: true},
	{patterns: []string{`\p{N}`, gpt2Pattern}, names: []string{
		"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2",
	}},
	{patterns: []string{cl100k}, names: []string{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}},
	{patterns: []string{cl100k}, names: []string{
		"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
	}, wholeWords: true, addBOS: true},
	{patterns: []string{singleDigits}, names: []string{"qwen2"}, nfc: true},
	{patterns: []string{singleDigits}, names: []string{
		"deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2",
	}},
	{patterns: []string{qwen35}, names: []string{"qwen35"}, nfc: true},
	{patterns: []string{`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`},
		names: []string{"bailingmoe", "bailingmoe2", "llada-moe"}},
	{patterns: []string{word + `|\p{N}|` + afterWords}, names: []string{"ufakzeka"}},
	{patterns: []string{contractions + `|` + word + `|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`}, names: []string{"seed-coder"}},
	{patterns: []string{`[^\n]+|[\n]+`, singleDigits}, names: []string{"laguna"}},
	{patterns: []string{o200k}, names: []string{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2", "granite-embed-multi-97m"}},
	{patterns: []string{`\d{1,3}(?=(?:\d{3})*\b)`, o200k}, names: []string{"tiny_aya", "cohere2moe"}},
	{patterns: []string{`[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+`, o200kDigits}, names: []string{"youtu"}, wholeWords: true},
	{patterns: []string{tekken}, names: []string{"tekken"}, wholeWords: true, addBOS: true},
	{patterns: []string{`\p{N}{1,3}`, deepseekCJK, deepseek}, names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}},
	{patterns: []string{`\p{N}{1,3}`, deepseekCJK, spark, `\p{N}`}, names: []string{"spark2_5"}},
	{patterns: []string{`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`,
		`[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+`, deepseek}, names: []string{"afmoe"}},
	{patterns: []string{`[\r\n]`, `\s?` + casedLetters, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, olderCJK, `\p{N}+`}, names: []string{"deepseek-llm"}},
	{patterns: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, olderCJK, `\p{N}`}, names: []string{"deepseek-coder"}},
	{patterns: []string{falconMarks, gpt2Pattern, `[0-9][0-9][0-9]`}, names: []string{"falcon"}},
	{patterns: []string{falconMarks, gpt2Pattern, `\p{N}+`, `[0-9][0-9][0-9]`}, names: []string{"", "default"}},
	{patterns: []string{kimi}, names: []string{"kimi-k2"}},
	{patterns: []string{bloom}, names: []string{"bloom", "poro-chat", "gpt3-finnish"}},
	{patterns: []string{bloom, `\p{N}`}, names: []string{"viking"}},
	{patterns: []string{`\p{N}+`, `(?=(\d{3})+(?!\d))`}, names: []string{"superbpe"}},
	{patterns: []string{`<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, `\p{N}`, "[\\p{P}!-/:-@\\[-`{-~]", gpt2Pattern}, names: []string{"chameleon"}},
	{patterns: []string{contractions + `|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`}, names: []string{"exaone-moe"}},
	{patterns: []string{contractions + `|` + word + `|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`}, names: []string{"jais-2"}},
	{patterns: []string{`\p{N}{1,3}`, cl100k}, names: []string{"minicpm5"}},
	{patterns: []string{`\S+`}, names: []string{"whitespace"}},
}
