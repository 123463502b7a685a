package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxPickleCost bounds the memory that unpickling can take, as an upper
	// estimate summed over the opcodes. A tensor costs some 8 kB, so that this
	// is room for 30 000 in a file.
	maxPickleCost = 256 << 20

	// maxPickleString bounds every string. Hashing a long one again and again
	// as a key would take hours within any bound on memory.
	maxPickleString = 4096
)

// An operand says how an opcode's argument is laid out.
type operand uint8

const (
	refused   operand = iota // torch.save never writes this opcode for weights
	none                     // no argument
	bytes1                   // as many bytes follow
	bytes2                   //
	bytes4                   //
	bytes8                   //
	string1                  // a string after a length of 1 byte
	string4                  // a string after a length of 4 bytes
	integer1                 // a long integer after a length of 1 byte
	className                // two lines: module and class
	frame                    // a length of 8 bytes; the bytes framed are opcodes again
)

// opcode describes one opcode of pickle protocols 2 to 4 (Python's
// pickletools): its argument, and a bound on the bytes that running it keeps
// allocated in gopickle, its share of grown slices and maps included.
func opcode(op byte) (arg operand, cost int64) {
	const push = 192
	switch op {
	case '(': // MARK makes a stack of 16 values
		return none, 448
	case '}', ']', ')': // EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE
		return none, 320
	case 'R': // REDUCE makes a tensor or an ordered dict
		return none, 1024
	case 'b':
		// BUILD copies a whole dict, which can be the same each time: a bound
		// on time. A state dict has one, for its _metadata.
		return none, 16 << 20
	case 't', '\x85', '\x86', '\x87', // TUPLE, TUPLE1 to TUPLE3
		's', 'u', 'a', 'e', // SETITEM, SETITEMS, APPEND, APPENDS
		'N', '\x88', '\x89', // NONE, NEWTRUE, NEWFALSE
		'Q', '\x94', '\x93', // BINPERSID, MEMOIZE, STACK_GLOBAL
		'.': // STOP
		return none, push
	case '\x80', 'K', 'q', 'h': // PROTO, BININT1, BINPUT, BINGET
		return bytes1, push
	case 'M': // BININT2
		return bytes2, push
	case 'J', 'r', 'j': // BININT, LONG_BINPUT, LONG_BINGET
		return bytes4, push
	case 'G': // BINFLOAT
		return bytes8, push
	case '\x8c': // SHORT_BINUNICODE
		return string1, push
	case 'X': // BINUNICODE
		return string4, push
	case '\x8a': // LONG1
		return integer1, push
	case 'c': // GLOBAL
		return className, push
	case '\x95': // FRAME
		return frame, push
	}
	return refused, 0
}

// checkPickle walks the opcodes up to STOP without running them. gopickle
// allocates by lengths before it reads what they measure, and a pickle can ask
// for much with few bytes, so this holds every opcode to a short list, every
// length to the bytes that are there, and the whole to maxPickleCost. It
// returns the estimate that it held to that.
func checkPickle(p []byte) (cost int64, err error) {
	for pos := 0; pos < len(p); {
		op := p[pos]
		arg, opCost := opcode(op)
		n, err := operandBytes(arg, p[pos+1:])
		if err != nil {
			return 0, fmt.Errorf("opcode %q at byte %d: %w", op, pos, err)
		}
		if arg == frame {
			opCost += int64(binary.LittleEndian.Uint64(p[pos+1:]))
		}
		cost += opCost + 2*int64(n)
		if cost > maxPickleCost {
			return 0, fmt.Errorf("got a pickle that needs over %d bytes of memory by byte %d of %d, want less", maxPickleCost, pos, len(p))
		}
		if op == '.' {
			return cost, nil
		}
		pos += 1 + n
	}
	return 0, fmt.Errorf("got %d bytes of pickle without a STOP, want one: is the file cut short?", len(p))
}

// operandBytes is how many bytes of rest, which follows an opcode, are its
// argument.
func operandBytes(arg operand, rest []byte) (int, error) {
	n := 0
	switch arg {
	case refused:
		return 0, errors.New("got an opcode that weights do not need, want those that torch.save writes for a state dict")
	case none:
	case bytes1:
		n = 1
	case bytes2:
		n = 2
	case bytes4:
		n = 4
	case bytes8, frame:
		n = 8
	case string1, integer1:
		n = 1
		if len(rest) >= 1 {
			n += int(rest[0])
		}
	case string4:
		n = 4
		if len(rest) >= 4 {
			length := binary.LittleEndian.Uint32(rest)
			if length > maxPickleString {
				return 0, fmt.Errorf("got a string of %d bytes, want at most %d", length, maxPickleString)
			}
			n += int(length)
		}
	case className:
		return classNameBytes(rest)
	}
	if n > len(rest) {
		return 0, fmt.Errorf("got %d bytes to the end, want %d: is the file cut short?", len(rest), n)
	}
	if arg == integer1 && (n < 2 || n > 9) {
		return 0, fmt.Errorf("got an integer of %d bytes, want 1 to 8", n-1)
	}
	if arg == frame && binary.LittleEndian.Uint64(rest) > uint64(len(rest)-8) {
		return 0, fmt.Errorf("got a frame of %d bytes, want at most the %d to the end",
			binary.LittleEndian.Uint64(rest), len(rest)-8)
	}
	return n, nil
}

// classNameBytes measures the two lines of a GLOBAL and refuses classes here
// already, because gopickle resolves some without asking findClass.
func classNameBytes(rest []byte) (int, error) {
	window := rest[:min(len(rest), maxPickleString)]
	module, after, ok := bytes.Cut(window, []byte("\n"))
	if !ok {
		return 0, fmt.Errorf("got no module name in %d bytes, want a line", len(window))
	}
	name, _, ok := bytes.Cut(after, []byte("\n"))
	if !ok {
		return 0, fmt.Errorf("got no class name in %d bytes, want a line", len(after))
	}
	if _, err := findClass(string(module), string(name)); err != nil {
		return 0, err
	}
	return len(module) + len(name) + 2, nil
}
