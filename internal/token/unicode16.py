"""Writes unicode16.bin: the general categories of Unicode 16.0, which is what
the reference library splits text by. Needs PyPI unicodedata2 16.0.0.

The file is 4,352 block numbers, one byte for each 256 code points, then the
blocks: the index of each code point's category in the list of category names.
"""
import unicodedata2

assert unicodedata2.unidata_version == "16.0.0"
of = [unicodedata2.category(chr(i)) for i in range(0x110000)]
names = sorted(set(of))
print("".join(names))
blocks = {}
index = bytearray()
for at in range(0, len(of), 256):
    block = bytes(names.index(c) for c in of[at : at + 256])
    index.append(blocks.setdefault(block, len(blocks)))
with open("unicode16.bin", "wb") as f:
    f.write(bytes(index) + b"".join(blocks))
