package source

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// maxRank is PyTorch's own limit on dimensions.
const maxRank = 64

// A storage is a run of elements that tensors share.
type storage struct {
	key      string // names the zip entry
	dtype    string // as safetensors names it
	elements int64
}

// A storedTensor is a tensor as data.pkl describes it.
type storedTensor struct {
	name    string
	storage *storage
	offset  int64   // elements into the storage
	shape   []int64 // at most maxRank, none negative
	strides []int64 // elements; as many as shape
}

// loadPickle runs the checked opcodes of a data.pkl and returns its tensors in
// the order of the dict. What else the dict holds (counters, metadata) is
// skipped.
func loadPickle(program []byte) (tensors []storedTensor, err error) {
	if _, err := checkPickle(program); err != nil {
		return nil, err
	}
	// gopickle indexes the stack unchecked in places and uses any value as a
	// map key; checkPickle has bounded what it can allocate, the rest ends here.
	defer func() {
		if p := recover(); p != nil {
			tensors, err = nil, fmt.Errorf("got a pickle that breaks the unpickler (%.200v), want one written by torch.save", p)
		}
	}()
	u := pickle.NewUnpickler(bytes.NewReader(program))
	u.FindClass = findClass
	u.PersistentLoad = loadStorage
	value, err := u.Load()
	if err != nil {
		return nil, fmt.Errorf("got a pickle that does not load (%.300s), want one written by torch.save", err)
	}
	return collectTensors(value)
}

// collectTensors takes the tensors out of the unpickled dict.
func collectTensors(value any) ([]storedTensor, error) {
	var tensors []storedTensor
	seen := make(map[string]bool)
	add := func(key, value any) error {
		t, ok := value.(*storedTensor)
		if !ok {
			return nil
		}
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("got a tensor under a key of type %T, want a name", key)
		}
		if seen[name] {
			return fmt.Errorf("got tensor %.200q twice, want it once", name)
		}
		seen[name] = true
		named := *t // the pickle may hold one object under several names
		named.name = name
		tensors = append(tensors, named)
		return nil
	}
	switch dict := value.(type) {
	case *types.Dict:
		for _, e := range *dict {
			if err := add(e.Key, e.Value); err != nil {
				return nil, err
			}
		}
	case *types.OrderedDict:
		for e := dict.List.Front(); e != nil; e = e.Next() {
			entry := e.Value.(*types.OrderedDictEntry)
			if err := add(entry.Key, entry.Value); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("got a pickled %T, want a dict from names to tensors", value)
	}
	if len(tensors) == 0 {
		return nil, errors.New("got a dict without tensors, want one from names to tensors (a state dict, not a whole training checkpoint)")
	}
	return tensors, nil
}

// findClass is the whole list of what a pickle may name. gopickle itself adds
// collections.OrderedDict, and two classes of Python 2 that make nothing
// without a third from here.
func findClass(module, name string) (any, error) {
	switch module + "." + name {
	case "collections.OrderedDict":
		return &types.OrderedDictClass{}, nil
	case "torch._utils._rebuild_tensor_v2":
		return rebuildTensor{}, nil
	case "torch._utils._rebuild_parameter":
		return rebuildParameter{}, nil
	}
	if kind, ok := strings.CutSuffix(name, "Storage"); ok && module == "torch" {
		if dtype := storageDType(kind); dtype != "" {
			return storageClass{dtype}, nil
		}
	}
	return nil, fmt.Errorf("got class %.100q, want only tensors: a pickle can run code, so no other class is loaded; "+
		"save the bare state dict, best as safetensors", module+"."+name)
}

// storageDType maps the classes of torch.*Storage to safetensors' names.
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
	case "Int":
		return "I32"
	case "Short":
		return "I16"
	case "Char":
		return "I8"
	case "Byte":
		return "U8"
	case "Bool":
		return "BOOL"
	case "ComplexFloat":
		return "C64"
	}
	return ""
}

// storageClass stands for one class torch.*Storage.
type storageClass struct{ dtype string }

// loadStorage resolves a persistent id:
// ('storage', class, key, device, number of elements).
func loadStorage(id any) (any, error) {
	tuple, ok := id.(*types.Tuple)
	if !ok || tuple.Len() != 5 {
		return nil, fmt.Errorf("got a persistent id of type %T, want a tuple of 5", id)
	}
	tag, _ := tuple.Get(0).(string)
	class, isClass := tuple.Get(1).(storageClass)
	key, isKey := tuple.Get(2).(string)
	n, isInt := tuple.Get(4).(int)
	if tag != "storage" || !isClass || !isKey || !isInt || n < 0 {
		return nil, fmt.Errorf("got a persistent id of %T, %T, %T, .., %T, want 'storage', a torch storage class, a key, a device and a count",
			tuple.Get(0), tuple.Get(1), tuple.Get(2), tuple.Get(4))
	}
	return &storage{key: key, dtype: class.dtype, elements: int64(n)}, nil
}

// rebuildTensor stands for torch._utils._rebuild_tensor_v2(storage, offset,
// size, stride, requires_grad, backward_hooks[, metadata]).
type rebuildTensor struct{}

func (rebuildTensor) Call(args ...any) (any, error) {
	if len(args) != 6 && len(args) != 7 {
		return nil, fmt.Errorf("_rebuild_tensor_v2: got %d arguments, want 6 or 7", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("_rebuild_tensor_v2: got a %T, want a storage", args[0])
	}
	off, ok := args[1].(int)
	if !ok || off < 0 {
		return nil, fmt.Errorf("_rebuild_tensor_v2: got a %T or a negative offset, want an integer of at least 0", args[1])
	}
	t := &storedTensor{storage: s, offset: int64(off)}
	var err error
	if t.shape, err = intTuple(args[2]); err != nil {
		return nil, fmt.Errorf("_rebuild_tensor_v2: shape: %w", err)
	}
	if t.strides, err = intTuple(args[3]); err != nil {
		return nil, fmt.Errorf("_rebuild_tensor_v2: strides: %w", err)
	}
	if len(t.shape) != len(t.strides) {
		return nil, fmt.Errorf("_rebuild_tensor_v2: got %d strides, want %d", len(t.strides), len(t.shape))
	}
	return t, nil
}

// intTuple reads a shape or strides.
func intTuple(v any) ([]int64, error) {
	tuple, ok := v.(*types.Tuple)
	if !ok || tuple.Len() > maxRank {
		return nil, fmt.Errorf("got a %T, want a tuple of at most %d integers", v, maxRank)
	}
	list := make([]int64, 0, tuple.Len())
	for _, e := range *tuple {
		n, ok := e.(int)
		if !ok || n < 0 {
			return nil, fmt.Errorf("got a %T or a negative number, want integers of at least 0", e)
		}
		list = append(list, int64(n))
	}
	return slices.Clip(list), nil
}

// rebuildParameter stands for torch._utils._rebuild_parameter(tensor,
// requires_grad, backward_hooks): the tensor itself, to us.
type rebuildParameter struct{}

func (rebuildParameter) Call(args ...any) (any, error) {
	if len(args) != 3 {
		return nil, fmt.Errorf("_rebuild_parameter: got %d arguments, want 3", len(args))
	}
	t, ok := args[0].(*storedTensor)
	if !ok {
		return nil, fmt.Errorf("_rebuild_parameter: got a %T, want a tensor", args[0])
	}
	return t, nil
}
