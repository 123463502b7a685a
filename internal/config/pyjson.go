package config

import "bytes"

// FromPythonJSON makes JSON of what Python's json module reads and writes: the
// numbers NaN, Infinity and -Infinity become strings of that name. All else is
// left as it is, also what is no JSON.
func FromPythonJSON(b []byte) []byte {
	if !bytes.Contains(b, []byte("NaN")) && !bytes.Contains(b, []byte("Infinity")) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\' && i+1 < len(b):
			out = append(out, c)
			i++
		case c == '"':
			inString = !inString
		case !inString:
			if n := nameAt(b[i:]); n > 0 {
				out = append(append(append(out, '"'), b[i:i+n]...), '"')
				i += n - 1
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// nameAt is the length of the number that b begins with, if it has a name.
func nameAt(b []byte) int {
	for _, name := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(b, []byte(name)) {
			return len(name)
		}
	}
	return 0
}
