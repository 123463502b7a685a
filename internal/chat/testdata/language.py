"""Writes language.json: what jinja2 makes of small templates, configured as
transformers configures it for chat templates. Needs jinja2 3.1.6 alone:
python3 language.py > language.json"""

import datetime
import json

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(lineno)

    def mark(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda f: datetime.datetime(2026, 11, 30, 12, 34, 56).strftime(f)

VARIABLES = {
    "n": 7, "f": 2.5, "s": "Hello, World", "e": "", "u": "Grüße 你好 👋", "t": True, "none": None,
    "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, 2], [3, [4, 5]]],
    "d": {"b": 1, "a": {"x": [1, None, True, 2.0], "items": "shadow"}, "C": "é\"\n\\ \x7f\u2028"},
    "msgs": [
        {"role": "system", "content": "  be kind  ", "n": 2},
        {"role": "user", "content": "hi\nthere", "n": 1},
        {"role": "assistant", "content": None, "n": 2, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
    ],
    "big": 12345678901234567890123, "html": "<a href=\"x\">T&J's</a>",
}

TEMPLATES = open("language.txt", encoding="utf-8", newline="").read().split("\n====\n")

cases = []
for source in TEMPLATES:
    case = {"template": source}
    try:
        case["text"] = env.from_string(source).render(**VARIABLES)
    except Exception as e:
        case["error"] = type(e).__name__ + ": " + str(e)
    cases.append(case)
print(json.dumps({"variables": VARIABLES, "cases": cases}, ensure_ascii=True, indent=0))
