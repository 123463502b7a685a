// Package chat turns a conversation into the text that a model was trained on, by
// the chat template that comes with the model.
//
// Templates are written in Jinja. This is an engine of our own for that language
// as transformers configures it for templates (jinja2's
// ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, its
// own tojson, raise_exception, strftime_now, generation blocks). What a template
// renders to, and whether it fails, is what the reference does; testdata holds
// both for real templates and for small ones that cover the language. The values
// are Python's, down to how a float prints.
//
// A template comes with a model's file, so it is hostile input: what it may cost
// is bounded (state.go), it changes nothing and reaches nothing, and what is
// wrong with it is one line.
//
// Parsing makes functions, of which a template consists then: an expr evaluates
// to a value, a stmt writes. Failures within are panics with an *Error, which
// Parse and Render recover, as encoding/json does.
//
// Left out: templates that include or extend others, automatic escapes, and the
// filters pprint, random, striptags, urlencode, urlize, xmlattr, wordwrap and
// filesizeformat.
package chat
