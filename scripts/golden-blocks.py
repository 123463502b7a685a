#!/usr/bin/env python3
"""Writes what the tests of internal/tensor hold Decode and Encode to.

    pip install gguf==0.19.0
    (cd /tmp && npm install --ignore-scripts node-llama-cpp@3.22.1)
    scripts/golden-blocks.py /tmp/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so

testdata/blocks.gz has for each type a line of text, its name and the number of
its blocks, and then the blocks and what the gguf package for Python makes of
them as little-endian float32. testdata/encoded.gz has for each kind of weights a
line, its name and how many there are, and then the weights as float32 and the
blocks that ggml makes of them, in the order of ENCODED.
"""

import ctypes
import gzip
import os
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where the halves of a block's scales and least values are, and the other bytes
# whose extremes matter.
TYPES = {
    T.F32: [], T.F16: [0], T.BF16: [], T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2],
    T.Q5_0: [0], T.Q5_1: [0, 2], T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2],
    T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: [],
}
# Zeros, the least and the largest subnormal and normal halves, 1, the infinities and NaN.
HALVES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]
PLAIN = 4  # blocks with scales as weights have them


def decoded():
    rng = np.random.default_rng(7)
    out = bytearray()
    for t, halves in TYPES.items():
        elems, size = GGML_QUANT_SIZES[t]
        blocks = []
        for i in range(PLAIN * (64 // elems if elems == 1 else 1)):
            b = bytearray(rng.bytes(size))
            for h in halves:
                b[h : h + 2] = struct.pack("<e", rng.normal() / 64)
            blocks.append(b)
        for i, h in enumerate(HALVES * bool(halves)):
            b = bytearray(rng.bytes(size))
            for j, at in enumerate(halves):
                b[at : at + 2] = struct.pack("<H", h if j == 0 else HALVES[(i * 5 + j) % len(HALVES)])
            blocks.append(b)
        for fill in (0x00, 0xFF, 0x0F, 0xF0, 0x80, 0x7F):  # every code at an end
            b = bytearray([fill]) * size
            for h in halves:
                b[h : h + 2] = struct.pack("<e", -0.75)
            blocks.append(b)
        if t == T.MXFP4:
            blocks += [bytearray([e]) + rng.bytes(size - 1) for e in (0, 1, 2, 127, 253, 254, 255)]
        data = np.frombuffer(b"".join(blocks), dtype=np.uint8).reshape(len(blocks), size)
        with np.errstate(all="ignore"):
            values = dequantize(data, t).astype("<f4")
        assert values.size == len(blocks) * elems, t
        out += f"{t.name} {len(blocks)}\n".encode() + data.tobytes() + values.tobytes()
    write("blocks.gz", out)


ENCODED = [T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K]


def encoded(library):
    rng = np.random.default_rng(8)
    ggml = ctypes.CDLL(library)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    n = 8 * 256
    kinds = {
        "normal": rng.normal(size=n) / 50,
        "tails": rng.standard_t(3, n) / 100,
        "uneven": rng.normal(size=n) / 50 * np.repeat(np.exp(rng.normal(size=n // 32)), 32),
        "sparse": rng.normal(size=n) * (rng.uniform(size=n) < 0.1),
        "positive": rng.uniform(0.5, 1, n),
    }
    out = bytearray()
    for name, x in kinds.items():
        x = (x.astype("<f4").view(np.uint32) & 0xFFFF0000).view("<f4")  # as bfloat16, which compresses
        out += f"{name} {n}\n".encode() + x.tobytes()
        for t in ENCODED:
            elems, size = GGML_QUANT_SIZES[t]
            b = np.zeros(n // elems * size, dtype=np.uint8)
            assert ggml.ggml_quantize_chunk(int(t), x.ctypes.data, b.ctypes.data, 0, 1, n, None) == b.size
            out += b.tobytes()
    write("encoded.gz", out)


def write(name, out):
    path = os.path.join(os.path.dirname(__file__), "../internal/tensor/testdata", name)
    with open(path, "wb") as f:
        f.write(gzip.compress(bytes(out), 9, mtime=0))


if __name__ == "__main__":
    decoded()
    encoded(sys.argv[1])
