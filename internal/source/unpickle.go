package source

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	// maxPickleBytes bounds a pickle; a tensor takes some 120 bytes of it.
	maxPickleBytes = 64 << 20

	// maxPickleOps bounds the opcodes of a file, and with them the memory that
	// they ask for: room for some 40 000 tensors.
	maxPickleOps = 3 << 19

	// pickleBuffer is what is read ahead.
	pickleBuffer = 16 << 10

	// maxPickleString bounds a string and the name of a class.
	maxPickleString = 1 << 20
)

// What a pickle can make besides integers (int64), floats, booleans, strings
// and nil.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ items []item } // in the order they were set; a key may come again
	item  struct{ key, value any }

	// class is a name of the list in pickle.go, "module.name". Nothing of it is
	// ever run.
	class string
	// opaque is a value that no tensor is made of.
	opaque struct{ what string }
	// mark is where a tuple or a list of items begins on the stack.
	mark struct{}
)

// An unpickler makes the values that pickles describe. It knows the opcodes of
// protocols 2 to 5 that data need (Python's pickletools lists them), and calls
// no function but those of pickle.go.
type unpickler struct {
	r     *bufio.Reader
	at    int64 // bytes taken from r
	ops   int
	stack []any
	memo  map[uint32]any
	// storage resolves a persistent id.
	storage func(id any) (any, error)
}

func newUnpickler(r io.Reader, storage func(any) (any, error)) *unpickler {
	return &unpickler{r: bufio.NewReaderSize(r, pickleBuffer), storage: storage}
}

// load makes the value of the next pickle.
func (u *unpickler) load() (any, error) {
	u.stack, u.memo = nil, make(map[uint32]any)
	for {
		at := u.at
		op, err := u.next(1)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("got %d bytes of pickle without a STOP, want one: is the file cut short?", at)
		}
		if err != nil {
			return nil, err
		}
		if u.ops++; u.ops > maxPickleOps || u.at > maxPickleBytes {
			return nil, fmt.Errorf("got a pickle of over %d opcodes or %d bytes, want less", maxPickleOps, maxPickleBytes)
		}
		if op[0] == '.' {
			return u.pop()
		}
		if err := u.run(op[0]); err != nil {
			return nil, fmt.Errorf("opcode %q at byte %d: %w", op[0], at, err)
		}
	}
}

// run runs one opcode.
func (u *unpickler) run(op byte) error {
	switch op {
	case '\x80': // PROTO
		v, err := u.number(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("got pickle protocol %d, want at most 5", v)
		}
		return err
	case '\x95': // FRAME: opcodes follow, framed or not
		_, err := u.number(8)
		return err
	case '(':
		u.push(mark{})
	case 'N':
		u.push(nil)
	case '\x88', '\x89': // NEWTRUE, NEWFALSE
		u.push(op == '\x88')
	case '}':
		u.push(&dict{})
	case ']', '\x8f': // EMPTY_LIST, EMPTY_SET
		u.push(&list{})
	case ')':
		u.push(tuple{})
	case 't', '\x91': // TUPLE, FROZENSET
		items, err := u.popMark()
		u.push(tuple(slices.Clone(items)))
		return err
	case '\x85', '\x86', '\x87': // TUPLE1 to TUPLE3
		items, err := u.popN(int(op - '\x84'))
		u.push(tuple(slices.Clone(items)))
		return err
	case 'a', 'e', '\x90': // APPEND, APPENDS, ADDITEMS
		return u.append(op == 'a')
	case 's', 'u': // SETITEM, SETITEMS
		return u.set(op == 's')
	case 'q', 'r', '\x94': // BINPUT, LONG_BINPUT, MEMOIZE
		return u.put(op)
	case 'h', 'j': // BINGET, LONG_BINGET
		return u.get(op)
	case 'c', '\x93': // GLOBAL, STACK_GLOBAL
		return u.global(op)
	case 'R', '\x81': // REDUCE, NEWOBJ
		return u.call()
	case 'b': // BUILD: attributes, such as a state dict's _metadata
		_, err := u.popN(1)
		return err
	case 'Q': // BINPERSID
		return u.persistent()
	default:
		return u.literal(op)
	}
	return nil
}

// literal runs an opcode that pushes what follows it.
func (u *unpickler) literal(op byte) error {
	switch op {
	case 'K', 'M', 'J': // BININT1, BININT2, BININT
		v, err := u.number(1 << bytes.IndexByte([]byte("KMJ"), op))
		if op == 'J' {
			v = uint64(int32(v))
		}
		u.push(int64(v))
		return err
	case '\x8a', '\x8b': // LONG1, LONG4
		p, err := u.sized(lengthBytes(op))
		u.push(integer(p))
		return err
	case 'G': // BINFLOAT
		p, err := u.next(8)
		if err == nil {
			u.push(math.Float64frombits(binary.BigEndian.Uint64(p)))
		}
		return err
	case '\x8c', 'U', 'X', 'T', '\x8d': // text: SHORT_BINUNICODE, SHORT_BINSTRING, BINUNICODE, BINSTRING, BINUNICODE8
		p, err := u.sized(lengthBytes(op))
		u.push(string(p))
		return err
	case 'C', 'B', '\x8e', '\x96': // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
		_, err := u.sized(lengthBytes(op))
		u.push(opaque{"bytes"})
		return err
	}
	return errors.New("got an opcode that weights do not need, want those that torch.save writes for a state dict")
}

// lengthBytes is the size of the length that follows an opcode.
func lengthBytes(op byte) int {
	switch op {
	case 'X', 'T', 'B', '\x8b':
		return 4
	case '\x8d', '\x8e', '\x96':
		return 8
	}
	return 1
}

// integer is a little-endian number in two's complement, opaque if it is longer
// than any size in a file.
func integer(p []byte) any {
	if len(p) > 8 {
		return opaque{"an integer of over 64 bits"}
	}
	b := make([]byte, 8)
	if len(p) > 0 && p[len(p)-1]&0x80 != 0 {
		copy(b, bytes.Repeat([]byte{0xff}, 8))
	}
	copy(b, p)
	return int64(binary.LittleEndian.Uint64(b))
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) pop() (any, error) {
	items, err := u.popN(1)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// popN takes the top n values. The slice is good until the next push.
func (u *unpickler) popN(n int) ([]any, error) {
	from := len(u.stack) - n
	if from < 0 {
		return nil, errors.New("got too few values on the stack, want a pickle written by torch.save")
	}
	for _, v := range u.stack[from:] {
		if _, is := v.(mark); is {
			return nil, errors.New("got a mark, want a value")
		}
	}
	items := u.stack[from:]
	u.stack = u.stack[:from]
	return items, nil
}

// popMark takes the values down to the topmost mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, is := u.stack[i].(mark); is {
			items := u.stack[i+1:]
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("got no mark on the stack, want one")
}

// top is the topmost value, which stays there.
func (u *unpickler) top() any {
	if len(u.stack) == 0 {
		return mark{}
	}
	return u.stack[len(u.stack)-1]
}

func (u *unpickler) append(one bool) error {
	items, err := u.items(one, 1)
	if err != nil {
		return err
	}
	switch l := u.top().(type) {
	case *list:
		l.items = append(l.items, items...)
		return nil
	case opaque:
		return nil
	}
	return fmt.Errorf("got a %T to append to, want a list", u.top())
}

func (u *unpickler) set(one bool) error {
	items, err := u.items(one, 2)
	if err != nil {
		return err
	}
	switch d := u.top().(type) {
	case *dict:
		if len(items)%2 != 0 {
			return fmt.Errorf("got %d keys and values, want pairs", len(items))
		}
		for i := 0; i < len(items); i += 2 {
			d.items = append(d.items, item{items[i], items[i+1]})
		}
		return nil
	case opaque:
		return nil
	}
	return fmt.Errorf("got a %T to set items of, want a dict", u.top())
}

// items takes n values, or all down to the mark.
func (u *unpickler) items(one bool, n int) ([]any, error) {
	if one {
		return u.popN(n)
	}
	return u.popMark()
}

func (u *unpickler) put(op byte) error {
	key, err := uint64(len(u.memo)), error(nil)
	switch op {
	case 'q':
		key, err = u.number(1)
	case 'r':
		key, err = u.number(4)
	}
	u.memo[uint32(key)] = u.top()
	return err
}

func (u *unpickler) get(op byte) error {
	size := 1
	if op == 'j' {
		size = 4
	}
	key, err := u.number(size)
	v, ok := u.memo[uint32(key)]
	if err == nil && !ok {
		err = fmt.Errorf("got no value %d in the memo, want it stored before", key)
	}
	u.push(v)
	return err
}

// global pushes a class, if it is one of the list.
func (u *unpickler) global(op byte) error {
	var module, name string
	var err error
	if op == 'c' {
		if module, err = u.line(); err == nil {
			name, err = u.line()
		}
	} else {
		var items []any
		if items, err = u.popN(2); err == nil {
			module, _ = items[0].(string)
			name, _ = items[1].(string)
		}
	}
	if err != nil {
		return err
	}
	c, err := findClass(module, name)
	u.push(c)
	return err
}

func (u *unpickler) call() error {
	items, err := u.popN(2)
	if err != nil {
		return err
	}
	args, ok := items[1].(tuple)
	if !ok {
		return fmt.Errorf("got arguments of type %T, want a tuple", items[1])
	}
	v, err := construct(items[0], args)
	u.push(v)
	return err
}

func (u *unpickler) persistent() error {
	id, err := u.pop()
	if err != nil {
		return err
	}
	v, err := u.storage(id)
	u.push(v)
	return err
}

// next takes n bytes, which are good until the next call.
func (u *unpickler) next(n int) ([]byte, error) {
	p, err := u.r.Peek(n)
	if err != nil {
		if err == io.EOF {
			err = fmt.Errorf("got %d bytes to the end, want %d: is the file cut short?: %w", len(p), n, io.ErrUnexpectedEOF)
		}
		return nil, err
	}
	_, err = u.r.Discard(n)
	u.at += int64(n)
	return p, err
}

// number takes a little-endian number of n bytes.
func (u *unpickler) number(n int) (uint64, error) {
	p, err := u.next(n)
	var b [8]byte
	copy(b[:], p)
	return binary.LittleEndian.Uint64(b[:]), err
}

// sized takes the bytes that follow their number, itself of n bytes.
func (u *unpickler) sized(n int) ([]byte, error) {
	size, err := u.number(n)
	if err != nil {
		return nil, err
	}
	if size > maxPickleString {
		return nil, fmt.Errorf("got a string of %d bytes, want at most %d", size, maxPickleString)
	}
	if size <= pickleBuffer {
		return u.next(int(size))
	}
	// As the bytes come: the length is only said.
	var b bytes.Buffer
	got, err := io.CopyN(&b, u.r, int64(size))
	u.at += got
	if err == io.EOF {
		err = fmt.Errorf("got %d bytes to the end, want %d: is the file cut short?", got, size)
	}
	return b.Bytes(), err
}

// line takes the text up to the end of a line.
func (u *unpickler) line() (string, error) {
	p, err := u.r.ReadSlice('\n')
	u.at += int64(len(p))
	if err != nil {
		return "", fmt.Errorf("got no end of a class name in %d bytes, want a line", len(p))
	}
	return string(p[:len(p)-1]), nil
}
