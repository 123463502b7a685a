"""Writes sums.txt: what the checkpoints here hold, read without the Go code.

One line a tensor: directory, name, element type, shape, CRC-32 of its raw
bytes, sum of its values. Needs Python alone. Run it in this directory.
"""
import glob, json, math, os, pickle, struct, zipfile, zlib

WIDTH = {"F32": 4, "F16": 2, "BF16": 2}


def safetensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            yield name, t["dtype"], t["shape"], raw[8 + n + begin:8 + n + end]


class Unpickler(pickle.Unpickler):
    def __init__(self, archive):
        self.archive = archive
        self.root = next(n for n in archive.namelist() if n.endswith("/data.pkl"))[:-len("data.pkl")]
        super().__init__(archive.open(self.root + "data.pkl"))

    def find_class(self, module, name):
        if module == "torch._utils":
            return lambda storage, offset, size, stride, *rest: (storage, offset, size, stride)
        if module == "torch":
            return {"HalfStorage": "F16", "FloatStorage": "F32", "BFloat16Storage": "BF16"}[name]
        assert (module, name) == ("collections", "OrderedDict")
        return dict

    def persistent_load(self, pid):
        return pid[1], self.archive.read(f"{self.root}data/{pid[2]}")


def torch(path):
    for name, (storage, offset, size, stride) in Unpickler(zipfile.ZipFile(path)).load().items():
        dtype, raw = storage
        begin = offset * WIDTH[dtype]
        yield name, dtype, list(size), raw[begin:begin + math.prod(size) * WIDTH[dtype]]


def values(dtype, raw):
    if dtype == "BF16":
        raw = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
        dtype = "F32"
    code = {"F32": "f", "F16": "e"}[dtype]
    return struct.unpack(f"<{len(raw) // WIDTH[dtype]}{code}", raw)


with open("sums.txt", "w") as out:
    for d in sorted(next(os.walk("."))[1]):
        tensors = []
        for path in glob.glob(d + "/*.safetensors"):
            tensors += safetensors(path)
        for path in glob.glob(d + "/*.bin"):
            tensors += torch(path)
        for name, dtype, shape, raw in sorted(tensors):
            dims = "x".join(map(str, shape))
            print(d, name, dtype, dims, f"{zlib.crc32(raw):08x}", repr(math.fsum(values(dtype, raw))), file=out)
