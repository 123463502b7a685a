package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxRank is PyTorch's own limit on dimensions.
const maxRank = 64

// A storage is a run of elements that tensors share.
type storage struct {
	key      string // names the zip entry, or the place in a legacy file
	dtype    string // as safetensors names it
	first    int64  // element of what key names; 0 but for views of legacy files
	elements int64
}

// A storedTensor is a tensor as a pickle describes it.
type storedTensor struct {
	name    string
	dtype   string // as safetensors names it
	storage *storage
	offset  int64   // elements into the storage
	shape   []int64 // at most maxRank, none negative
	strides []int64 // elements; as many as shape
	// unlike says what kind of tensor it is, if it is none of plain elements in
	// a storage; then all else but its name is unknown.
	unlike string
}

// collectTensors takes the tensors out of an unpickled dict. What else it holds
// (counters, metadata) is skipped, and of equal names the last counts, as in
// Python.
func collectTensors(value any) ([]storedTensor, error) {
	d, ok := value.(*dict)
	if !ok {
		return nil, fmt.Errorf("got a pickled %s, want a dict from names to tensors", kindOf(value))
	}
	var tensors []storedTensor
	at := make(map[string]int)
	for _, e := range d.items {
		name, named := e.key.(string)
		t, ok := e.value.(*storedTensor)
		if !named || !ok {
			continue
		}
		one := *t // the pickle may hold one object under several names
		one.name = name
		if i, again := at[name]; again {
			tensors[i] = one
			continue
		}
		at[name] = len(tensors)
		tensors = append(tensors, one)
	}
	if len(tensors) == 0 {
		return nil, errors.New("got a dict without tensors, want one from names to tensors (a state dict, not a whole training checkpoint)")
	}
	return tensors, nil
}

// kindOf names a value's type in an error.
func kindOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case *storedTensor:
		return "tensor"
	case *storage:
		return "storage"
	case class:
		return string(v)
	case opaque:
		return v.what
	}
	return strings.TrimPrefix(strings.TrimLeft(fmt.Sprintf("%T", value), "*"), "source.")
}

// findClass finds a class in the list of what a pickle may name: what
// torch.load(weights_only=True) allows, of which none is run here.
func findClass(module, name string) (any, error) {
	full := module + "." + name
	switch {
	case makerOf(full) != nil:
		return class(full), nil
	case module == "torch" && torchDType(name) != "":
		return class(full), nil
	case module == "torch" && strings.HasPrefix(name, "per_"): // ways to quantise
		return class(full), nil
	case slices.Contains(tensorModules(), module) && strings.HasSuffix(name, "Tensor"):
		return class(full), nil
	}
	if kind, ok := strings.CutSuffix(name, "Storage"); ok && slices.Contains(tensorModules(), module) && storageDType(kind) != "" {
		return class(full), nil
	}
	return nil, fmt.Errorf("got class %.100q, want only tensors: a pickle can run code, so no other class is loaded; "+
		"save the bare state dict, best as safetensors", full)
}

// tensorModules lists where the classes of tensors and storages lie.
func tensorModules() []string {
	return []string{"torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse", "torch.storage"}
}

// storageDType maps the classes *Storage to safetensors' names, or for types
// that safetensors lacks to ones of dtypeBits.
func storageDType(kind string) string {
	switch kind {
	case "Float":
		return "F32"
	case "Half":
		return "F16"
	case "BFloat16":
		return "BF16"
	case "Double":
		return "F64"
	case "Long":
		return "I64"
	case "Int", "QInt32":
		return "I32"
	case "Short":
		return "I16"
	case "Char", "QInt8":
		return "I8"
	case "Byte", "QUInt8", "QUInt4x2", "QUInt2x4", "Untyped": // untyped ones are bytes, whose type their tensor names
		return "U8"
	case "Bool":
		return "BOOL"
	case "ComplexFloat":
		return "C64"
	case "ComplexDouble":
		return "C128"
	}
	return ""
}

// torchDType maps the names of torch.dtype in the same way.
func torchDType(name string) string {
	switch name {
	case "float32", "float":
		return "F32"
	case "float16", "half":
		return "F16"
	case "bfloat16":
		return "BF16"
	case "float64", "double":
		return "F64"
	case "int64", "long":
		return "I64"
	case "int32", "int", "qint32":
		return "I32"
	case "int16", "short":
		return "I16"
	case "int8", "qint8", "int1", "int2", "int3", "int4", "int5", "int6", "int7":
		return "I8"
	case "uint64":
		return "U64"
	case "uint32":
		return "U32"
	case "uint16", "bits16":
		return "U16"
	case "uint8", "quint8", "quint4x2", "quint2x4", "bits8", "bits1x8", "bits2x4", "bits4x2",
		"uint1", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7":
		return "U8"
	case "bool":
		return "BOOL"
	case "complex32", "chalf":
		return "C32"
	case "complex64", "cfloat":
		return "C64"
	case "complex128", "cdouble":
		return "C128"
	case "float8_e4m3fn":
		return "F8_E4M3"
	case "float8_e4m3fnuz":
		return "F8_E4M3FNUZ"
	case "float8_e5m2":
		return "F8_E5M2"
	case "float8_e5m2fnuz":
		return "F8_E5M2FNUZ"
	case "float8_e8m0fnu":
		return "F8_E8M0"
	case "float4_e2m1fn_x2": // two to a byte
		return "U8"
	}
	return ""
}

// A maker makes what calling a class would give, as far as tensors need it.
type maker func(args tuple) (any, error)

// makerOf is the whole list of what a pickle may call, nil for anything else.
func makerOf(name string) maker {
	switch name {
	case "collections.OrderedDict", "collections.Counter":
		return makeDict
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuildTensor
	case "torch._utils._rebuild_tensor_v3":
		return rebuildTyped
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
		"torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
		"torch._utils._rebuild_device_tensor_from_cpu_tensor":
		return firstTensor
	case "torch._tensor._rebuild_from_type_v2":
		return rebuildFromType
	case "torch._utils._rebuild_qtensor":
		return unlike("a quantised tensor")
	case "torch._utils._rebuild_sparse_tensor":
		return unlike("a sparse tensor")
	case "torch._utils._rebuild_nested_tensor":
		return unlike("a nested tensor")
	case "torch._utils._rebuild_meta_tensor_no_storage":
		return unlike("a tensor of the meta device, which has no elements")
	case "torch._utils._rebuild_wrapper_subclass", "torch._utils._rebuild_device_tensor_from_numpy":
		return unlike("a tensor of another library")
	case "torch.Size":
		return makeSize
	case "torch.device", "torch.serialization._get_layout", "_codecs.encode",
		"builtins.bytearray", "builtins.set", "builtins.complex",
		"__builtin__.bytearray", "__builtin__.set", "__builtin__.complex": // so called by Python 2, and in protocol 2
		return func(tuple) (any, error) { return opaque{name}, nil }
	}
	return nil
}

// unlike makes a tensor that is there but cannot be read.
func unlike(what string) maker {
	return func(tuple) (any, error) { return &storedTensor{unlike: what}, nil }
}

// construct is what calling c with args gives.
func construct(c any, args tuple) (any, error) {
	name, ok := c.(class)
	if !ok {
		return nil, fmt.Errorf("got a %s that is called, want a class", kindOf(c))
	}
	f := makerOf(string(name))
	if f == nil {
		return nil, fmt.Errorf("got a call of %.100q, want only what rebuilds tensors", string(name))
	}
	v, err := f(args)
	if err != nil {
		return nil, fmt.Errorf("%.100s: %w", string(name), err)
	}
	return v, nil
}

// makeDict is a dict, empty or of the pairs that Python 2 hands over.
func makeDict(args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	switch from := args[0].(type) {
	case *dict:
		return from, nil
	case *list:
		// They move: a list that is handed over again and again costs nothing.
		items := from.items
		from.items = nil
		for _, e := range items {
			pair, ok := e.(tuple)
			if l, isList := e.(*list); isList {
				pair, ok = l.items, true
			}
			if !ok || len(pair) != 2 {
				return nil, fmt.Errorf("got an item of type %s, want a pair", kindOf(e))
			}
			d.items = append(d.items, item{pair[0], pair[1]})
		}
		return d, nil
	}
	return nil, fmt.Errorf("got a dict of a %s, want one of pairs", kindOf(args[0]))
}

// makeSize is a shape: the tuple itself.
func makeSize(args tuple) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("got %d arguments, want 1", len(args))
	}
	switch v := args[0].(type) {
	case tuple:
		return v, nil
	case *list:
		return tuple(v.items), nil
	}
	return nil, fmt.Errorf("got a %s, want a tuple", kindOf(args[0]))
}

// loadStorage resolves a persistent id: ('storage', class, key, device, number
// of elements), to which legacy files add a view or None.
func loadStorage(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) != 5 && len(t) != 6 {
		return nil, fmt.Errorf("got a persistent id of type %s, want a tuple of 5", kindOf(id))
	}
	tag, _ := t[0].(string)
	c, isClass := t[1].(class)
	key, isKey := t[2].(string)
	n, isInt := t[4].(int64)
	dtype := storageDType(strings.TrimSuffix(string(c)[strings.LastIndexByte(string(c), '.')+1:], "Storage"))
	if tag != "storage" || !isClass || dtype == "" || !isKey || !isInt || n < 0 {
		return nil, fmt.Errorf("got a persistent id of %s, %s, %s, .., %s, want 'storage', a torch storage class, a key, a device and a count",
			kindOf(t[0]), kindOf(t[1]), kindOf(t[2]), kindOf(t[4]))
	}
	s := &storage{key: key, dtype: dtype, elements: n}
	if len(t) == 5 || t[5] == nil {
		return s, nil
	}
	// (key of the view, first element, number of elements)
	view, ok := t[5].(tuple)
	if !ok || len(view) != 3 {
		return nil, fmt.Errorf("got a view of type %s, want a tuple of 3", kindOf(t[5]))
	}
	first, ok1 := view[1].(int64)
	count, ok2 := view[2].(int64)
	if !ok1 || !ok2 || first < 0 || count < 0 || first > n || count > n-first {
		return nil, fmt.Errorf("got a view of %v elements from %v on, want it inside a storage of %d", view[2], view[1], n)
	}
	s.first, s.elements = first, count
	return s, nil
}

// rebuildTensor stands for _rebuild_tensor(storage, offset, size, stride), to
// which _v2 adds requires_grad, hooks and metadata.
func rebuildTensor(args tuple) (any, error) {
	if len(args) != 4 && len(args) != 6 && len(args) != 7 {
		return nil, fmt.Errorf("got %d arguments, want 4, 6 or 7", len(args))
	}
	return rebuild(args)
}

// rebuildTyped stands for _rebuild_tensor_v3, whose storage is of bytes and whose
// seventh argument is the element type.
func rebuildTyped(args tuple) (any, error) {
	if len(args) != 7 && len(args) != 8 {
		return nil, fmt.Errorf("got %d arguments, want 7 or 8", len(args))
	}
	c, _ := args[6].(class)
	name, ok := strings.CutPrefix(string(c), "torch.")
	dtype := torchDType(name)
	if !ok || dtype == "" {
		return nil, fmt.Errorf("got a %s, want an element type", kindOf(args[6]))
	}
	t, err := rebuild(args)
	if err != nil {
		return nil, err
	}
	t.dtype = dtype
	return t, nil
}

func rebuild(args tuple) (*storedTensor, error) {
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("got a %s, want a storage", kindOf(args[0]))
	}
	off, ok := args[1].(int64)
	if !ok || off < 0 {
		return nil, fmt.Errorf("got a %s or a negative offset, want an integer of at least 0", kindOf(args[1]))
	}
	t := &storedTensor{storage: s, dtype: s.dtype, offset: off}
	var err error
	if t.shape, err = intTuple(args[2]); err != nil {
		return nil, fmt.Errorf("shape: %w", err)
	}
	if t.strides, err = intTuple(args[3]); err != nil {
		return nil, fmt.Errorf("strides: %w", err)
	}
	if len(t.shape) != len(t.strides) {
		return nil, fmt.Errorf("got %d strides, want %d", len(t.strides), len(t.shape))
	}
	return t, nil
}

// intTuple reads a shape or strides.
func intTuple(v any) ([]int64, error) {
	t, ok := v.(tuple)
	if !ok || len(t) > maxRank {
		return nil, fmt.Errorf("got a %s, want a tuple of at most %d integers", kindOf(v), maxRank)
	}
	ints := make([]int64, 0, len(t))
	for _, e := range t {
		n, ok := e.(int64)
		if !ok || n < 0 {
			return nil, fmt.Errorf("got a %s or a negative number, want integers of at least 0", kindOf(e))
		}
		ints = append(ints, n)
	}
	return ints, nil
}

// firstTensor stands for what wraps a tensor, its first argument: to us the
// tensor itself.
func firstTensor(args tuple) (any, error) {
	if len(args) == 0 || len(args) > 4 {
		return nil, fmt.Errorf("got %d arguments, want 1 to 4", len(args))
	}
	t, ok := args[0].(*storedTensor)
	if !ok {
		return nil, fmt.Errorf("got a %s, want a tensor", kindOf(args[0]))
	}
	return t, nil
}

// rebuildFromType stands for torch._tensor._rebuild_from_type_v2(function, type,
// arguments, state): a tensor that carries attributes.
func rebuildFromType(args tuple) (any, error) {
	if len(args) != 4 {
		return nil, fmt.Errorf("got %d arguments, want 4", len(args))
	}
	inner, ok := args[2].(tuple)
	if c, _ := args[0].(class); !ok || c == "torch._tensor._rebuild_from_type_v2" {
		return nil, fmt.Errorf("got a %s of a %s, want a call that rebuilds a tensor", kindOf(args[0]), kindOf(args[2]))
	}
	return construct(args[0], inner)
}
