"""Writes pipelines.json: small tokenizer.json files with what Hugging Face's
tokenizers 0.23.3 makes of texts. Each changes keys of one base."""
import json
import sys

from tokenizers import Tokenizer

CHARS = "abcdefgABCD e0123._-'▁\n"
BASE = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": None, "post_processor": None, "decoder": None,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {}, "merges": []},
}


def byte_chars():
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def vocab(tokens):
    return {t: i for i, t in enumerate(dict.fromkeys(tokens))}


def model(tokens, merges, **kw):
    return {**BASE["model"], "vocab": vocab(tokens + [m.replace(" ", "") for m in merges]), "merges": merges, **kw}


MERGES = ["a b", "b c", "ab c", "▁ a", "▁a b", "1 2", "A B"]
PLAIN = model(["<unk>"] + list(CHARS), MERGES, unk_token="<unk>")
LEVEL = model(list(byte_chars().values()), ["a b", "b c", "ab c", "Ġ a", "Ġa b", "1 2", "Ã ©"])
FALLBACK = model(["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + list(CHARS), MERGES, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NOREGEX = {**BYTES, "use_regex": False}


def added(id, content, **kw):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **kw}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def seq(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def template(before, after):
    ids = lambda l: [{"SpecialToken": {"id": t, "type_id": 0}} for t, _ in l]
    return {"type": "TemplateProcessing", "single": ids(before) + [{"Sequence": {"id": "A", "type_id": 0}}] + ids(after), "pair": [],
            "special_tokens": {t: {"id": t, "ids": i, "tokens": ["a"] * len(i)} for t, i in before + after}}


CASES = {}
for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
    CASES["normalizer " + form] = {"model": LEVEL, "pre_tokenizer": BYTES, "decoder": BYTES, "normalizer": {"type": form}}
CASES["normalizer Strip"] = {"model": LEVEL, "pre_tokenizer": BYTES, "decoder": BYTES, "normalizer": {"type": "Strip", "strip_left": True, "strip_right": False}}
CASES["normalizer Sequence"] = {"model": PLAIN, "normalizer": seq("normalizers", {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "Replace", "pattern": {"Regex": "[0-9]+"}, "content": "1"}, {"type": "Replace", "pattern": {"Regex": "(?=b)"}, "content": "-"})}
CASES["normalizer ByteLevel"] = {"model": LEVEL, "normalizer": {"type": "ByteLevel"}, "pre_tokenizer": split("Ġ", "MergedWithNext", kind="String"), "decoder": BYTES}
for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
    for invert in (False, True):
        CASES[f"split {behavior} {invert}"] = {"model": LEVEL, "pre_tokenizer": seq("pretokenizers", split("[ab]|-", behavior, invert), NOREGEX), "decoder": BYTES}
        CASES[f"split string {behavior} {invert}"] = {"model": LEVEL, "pre_tokenizer": seq("pretokenizers", split("-", behavior, invert, "String"), NOREGEX), "decoder": BYTES}
for pattern in (
    "(?=b)", "(?<=b)", "(?<!a)b", "b*", "a{2,3}+", "a++b", "a?+ab", "(?>a|ab)c", "[[:alpha:]&&[^a-c]]+", "[^\\s\\p{L}&&[^é]]+", "(?i:é|s)+", "\\p{Han}+|\\p{^L}+", "\\P{L}+",
    "\\h+", "\\w+|\\W+", "\\d+?", "^.", ".$", "\\b", "\\bb\\B", "(a|b|ab)*c", "a{,2}", "a{2}", "(?m:.)+", "[]a]+", "[a\\-c]+", "\\x61|\\u0062", "(?=(\\d{3})+(?!\\d))", "(?<n>a)(?:b)", "\\s+$|\\s+(?!\\S)|\\s+", "(?i)ab(?-i)c", "a{2}?", "b{1,2}?", "(?i:[\\p{L}&&[^a]])", "(?i:[^\\p{Lu}])", "(?i:[[^b]])", "(?i:\\P{Lu})",
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
    " ?[^(\\s|[.,!?…。，、।۔،])]+", "[^\\p{P}\\p{S}\\s]+|[\\p{P}\\p{S}]", "[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+|\\s+|.",
):
    CASES["pattern " + pattern] = {"model": LEVEL, "pre_tokenizer": seq("pretokenizers", split(pattern), NOREGEX), "decoder": BYTES}
for name, step in {
    "ByteLevel prefix": {**BYTES, "add_prefix_space": True}, "Digits": {"type": "Digits", "individual_digits": True}, "Digits runs": {"type": "Digits", "individual_digits": False},
    "Punctuation": {"type": "Punctuation", "behavior": "Isolated"}, "Punctuation runs": {"type": "Punctuation", "behavior": "Contiguous"}, "Whitespace": {"type": "Whitespace"},
    "WhitespaceSplit": {"type": "WhitespaceSplit"}, "Bert": {"type": "BertPreTokenizer"}, "CharDelimiterSplit": {"type": "CharDelimiterSplit", "delimiter": "-"},
}.items():
    steps = [step] if step["type"] == "ByteLevel" else [step, NOREGEX]
    CASES["pre_tokenizer " + name] = {"model": LEVEL, "pre_tokenizer": seq("pretokenizers", *steps), "decoder": BYTES}
CASES["pre_tokenizer ByteLevel between"] = {"model": LEVEL, "pre_tokenizer": seq("pretokenizers", {"type": "Punctuation", "behavior": "Contiguous"}, BYTES, {"type": "Digits", "individual_digits": False}, split("[0-9][0-9]")), "decoder": BYTES}
for scheme in ("always", "first", "never"):
    for cut in (True, False):
        meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
        CASES[f"Metaspace {scheme} {cut}"] = {"model": FALLBACK, "pre_tokenizer": meta, "decoder": seq("decoders", {"type": "ByteFallback"}, meta), "added_tokens": [added(400, "<x>"), added(401, "<y>", rstrip=True, lstrip=True)]}
CASES["fallback"] = {"model": FALLBACK, "decoder": seq("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})}
# Gemma 2 has a token for a tab and none for its byte; é, and all of Japanese here, lack a byte too.
SOME = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256) if b not in (0x09, 0xA9, 0xE6)] + list(CHARS)
for fuse in (True, False):
    CASES[f"fallback without some bytes, fused {fuse}"] = {"model": model(SOME, MERGES, unk_token="<unk>", byte_fallback=True, fuse_unk=fuse), "decoder": CASES["fallback"]["decoder"]}
CASES["unk"] = {"model": PLAIN}
CASES["unk fused"] = {"model": {**PLAIN, "fuse_unk": True}}
CASES["no unk"] = {"model": {**PLAIN, "unk_token": None}}
CASES["no bytes"] = {"model": PLAIN, "pre_tokenizer": BYTES, "decoder": BYTES}
CASES["no bytes fused"] = {"model": {**PLAIN, "fuse_unk": True}, "pre_tokenizer": BYTES, "decoder": BYTES}
CASES["ignore_merges"] = {"model": {**LEVEL, "ignore_merges": True, "vocab": {**LEVEL["vocab"], "cab": 300, "Ġé": 301, "ĠÃ©": 302}}, "pre_tokenizer": BYTES, "decoder": BYTES}
CASES["suffix"] = {"model": model(["<unk>"] + list(CHARS) + [c + "</w>" for c in CHARS] + ["abc</w>"], ["a b", "b c</w>", "ab c</w>"], unk_token="<unk>", end_of_word_suffix="</w>"), "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": {"type": "BPEDecoder", "suffix": "</w>"}}
CASES["prefix"] = {"model": {**model(["<unk>"] + list(CHARS) + ["##" + c for c in CHARS] + ["ab", "abc", "##bc"], [], unk_token="<unk>"), "merges": ["##b ##c", "a ##bc"], "continuing_subword_prefix": "##"}, "pre_tokenizer": {"type": "WhitespaceSplit"}}
for name, post in {
    "template": template([("a", [3])], []), "template both": template([("a", [3, 4]), ("b", [5])], [("a", [3])]), "Bert": {"type": "BertProcessing", "cls": ["a", 3], "sep": ["b", 4]},
    "Roberta": {"type": "RobertaProcessing", "cls": ["a", 3], "sep": ["b", 4], "trim_offsets": True, "add_prefix_space": False}, "Sequence": seq("processors", BYTES, template([("a", [3])], [("b", [4])])),
}.items():
    CASES["post_processor " + name] = {"model": PLAIN, "post_processor": post}
ADDED = {
    "ids are passed over": [added(99, "<x>"), added(5, "<y>"), added(7, "ab"), added(99, "")],
    "twice": [added(50, "<x>"), added(50, "<x>", special=True)],
    "overlap and strip": [added(50, "<x>", rstrip=True), added(51, "  "), added(52, "<y>", lstrip=True), added(53, "<x><y>", lstrip=True), added(54, "x>", special=True)],
    "overlap, single word": [added(50, "abc", single_word=True), added(51, "bc"), added(52, "ab", single_word=True, lstrip=True), added(53, "c <", rstrip=True)],
    "normalized": [added(50, "AB", normalized=True), added(51, "Bc"), added(52, "É", normalized=True, single_word=True), added(53, "b", normalized=True), added(54, "b c", special=True)],
}
ADDED["declared again"] = [added(50, "<x>", rstrip=True), added(51, "ab", special=True), added(52, "<x>", lstrip=True), added(53, "ab", single_word=True)]
ADDED["taken by another's strip"] = [added(50, "<x>", rstrip=True), added(51, "  ", lstrip=True, rstrip=True)]
for name, tokens in ADDED.items():
    CASES["added " + name] = {"model": PLAIN, "normalizer": {"type": "Lowercase"}, "added_tokens": tokens}
    CASES["added bytes " + name] = {"model": LEVEL, "normalizer": {"type": "Lowercase"}, "added_tokens": tokens, "pre_tokenizer": BYTES, "decoder": BYTES}
# Sets that differ between \\w, [[:word:]] and the word characters that no pattern names.
for pattern in (r"\w+", r"[[:word:]]+", r"\b", r"[[:punct:]]", r"\p{Punct}", r"[[:upper:]]", r"[[:lower:]]", r"\Na", r"\Oa"):
    CASES["set " + pattern] = {"model": LEVEL, "pre_tokenizer": seq("pretokenizers", split(pattern), NOREGEX), "decoder": BYTES}
CASES["keys left out"] = {k: None for k in ("version", "truncation", "padding", "added_tokens", "normalizer", "post_processor")}
CASES["keys left out"]["model"] = {"vocab": PLAIN["vocab"], "merges": [["a", "b"], ["b", "c"], ["ab", "c"]], "other": 5}
CASES["merges with a version"] = {"model": {**PLAIN, "merges": ["#version: 0.2"] + PLAIN["merges"]}}
CASES["ids twice"] = {"model": {**PLAIN, "unk_token": "absent", "vocab": {**PLAIN["vocab"], "zz": 3}}}

TEXTS = [
    "abc", " abc ab  abc ", "a-b--c -", "ABC ab", "Éé e\u0301 ｆi ﬁ ½ Ⅷ ²", "12 123 1234567", "It's 'S 'ſ we'LL\r\n\r\n  x\n", "日本語abc 한국어、。", "a\tb\u00a0c\u2003d\u200d_e", "aab aaab aaaab acab",
    "<x>   <y>ab", "ab<x><y>  <x>  abc", "<x>     b", "abc abcd dabc ab c <x>", "AB Bc aBc b c É éb", "é", "", " ", "[a]-c]", "▁a▁▁ab", "zabc\u0000z", "ISTANBUL İ ΑΣ ǅ", "e" + "\u0301\u0323" * 20 + "x", "𞤀𖵁\U0001C4E1 ༠١", "x\u0300\u0301\u0345 가각", "#1!?…(a|b)", "\u2581 \ufeff\u00ad", "a²b½ \u200d¢^a ªⅠ",
]
out = []
for name, changes in CASES.items():
    doc = {k: v for k, v in {**BASE, **changes}.items() if not (name == "keys left out" and v is None)}
    t = Tokenizer.from_str(json.dumps(doc))
    cases = []
    for text in TEXTS:
        try:
            ids, special = t.encode(text, add_special_tokens=False).ids, t.encode(text).ids
        except BaseException:  # an unknown character without a token for it; the library itself panics on some
            continue
        cases.append({"text": text, "ids": ids, "special": special, "decoded": t.decode(special, skip_special_tokens=False), "skip": t.decode(special)})
    out.append({"name": name, "tokenizer": doc, "cases": cases})
json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
