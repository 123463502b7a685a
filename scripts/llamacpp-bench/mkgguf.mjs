// Writes a GGUF file of GPT-2's architecture with random weights, of any size:
// what llama.cpp can be timed on beside an OPT model of the same shape, which it
// does not run. Its text means nothing. run.sh calls it.
//
//   node mkgguf.mjs TYPE HIDDEN LAYERS HEADS FFN F.gguf     TYPE: f16, q8_0 or q4_0
import {randomFillSync} from "node:crypto";
import {closeSync, openSync, writeSync} from "node:fs";

const [type, ...rest] = process.argv.slice(2);
const path = rest.pop();
const [d, layers, heads, ffn] = rest.map(Number);
const vocab = 50272, context = 2048, alignment = 32;

// By type: its number in ggml.h, the llama_ftype of a file of it, and the bytes of
// 32 elements.
const types = {f32: [0, 0, 128], f16: [1, 1, 64], q4_0: [2, 2, 18], q8_0: [8, 7, 34]};
if (!(type in types) || type === "f32" || !path || rest.length !== 4 || d % 32 || ffn % 32 || d % heads) {
  throw new Error(`mkgguf: got ${process.argv.slice(2).join(" ")}, want TYPE HIDDEN LAYERS HEADS FFN FILE`);
}

// Values of all signs and of magnitudes up to 1/32, in a number of blocks that is
// odd, so that no two rows of a matrix are the same.
function table(name) {
  const size = types[name][2], blocks = (1 << 15) - 1;
  const b = randomFillSync(Buffer.alloc(size * blocks));
  for (let at = 0; at < b.length; at += size) {
    if (name === "q8_0") b.writeUInt16LE(0x0c00, at); // the block's scale: 2^-12
    if (name === "q4_0") b.writeUInt16LE(0x1c00, at); // 2^-8
    for (let i = 0; name === "f16" && i < size; i += 2) b.writeUInt16LE((b.readUInt16LE(at + i) & 0x83ff) | 0x2400, at + i);
    for (let i = 0; name === "f32" && i < size; i += 4) b.writeUInt32LE(((b.readUInt32LE(at + i) & 0x807fffff) | 0x3c800000) >>> 0, at + i);
  }
  return b;
}

const u32 = (v) => { const b = Buffer.alloc(4); b.writeUInt32LE(v); return b; };
const u64 = (v) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(v)); return b; };
const f32 = (v) => { const b = Buffer.alloc(4); b.writeFloatLE(v); return b; };
const text = (s) => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);
const list = (of, values) => Buffer.concat([u32(9), u32(of), u64(values.length), ...values]);
const [typeU32, typeI32, typeF32, typeString] = [4, 5, 6, 8].map(u32);
const padded = (n) => Math.ceil(n / alignment) * alignment;

// The 256 bytes, in the letters that byte-level BPE has for them, names that mean
// nothing, and an end-of-text token.
const tokens = [];
for (let b = 0, next = 256; b < 256; b++) {
  const printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  tokens.push(String.fromCodePoint(printable ? b : next++));
}
tokens.push("ab"); // the one merge
while (tokens.length < vocab - 1) tokens.push(`token${tokens.length}`);
tokens.push("<|endoftext|>");

const metadata = [
  ["general.architecture", typeString, text("gpt2")],
  ["general.name", typeString, text("random")],
  ["general.file_type", typeU32, u32(types[type][1])],
  ["gpt2.context_length", typeU32, u32(context)],
  ["gpt2.embedding_length", typeU32, u32(d)],
  ["gpt2.feed_forward_length", typeU32, u32(ffn)],
  ["gpt2.block_count", typeU32, u32(layers)],
  ["gpt2.attention.head_count", typeU32, u32(heads)],
  ["gpt2.attention.layer_norm_epsilon", typeF32, f32(1e-5)],
  ["tokenizer.ggml.model", typeString, text("gpt2")],
  ["tokenizer.ggml.pre", typeString, text("gpt-2")],
  ["tokenizer.ggml.tokens", list(8, tokens.map(text))],
  ["tokenizer.ggml.token_type", list(5, tokens.map((_, i) => u32(i === vocab - 1 ? 3 : 1)))], // control, else normal
  ["tokenizer.ggml.merges", list(8, [text("a b")])],
  ["tokenizer.ggml.bos_token_id", typeU32, u32(vocab - 1)],
  ["tokenizer.ggml.eos_token_id", typeU32, u32(vocab - 1)],
];

const tensors = []; // [name, type, columns, rows]; rows are absent in a vector
const norm = (name) => tensors.push([`${name}.weight`, "f32", d], [`${name}.bias`, "f32", d]);
const linear = (name, from, to) => tensors.push([`${name}.weight`, type, from, to], [`${name}.bias`, "f32", to]);
tensors.push(["token_embd.weight", type, d, vocab], ["position_embd.weight", type, d, context]);
norm("output_norm");
for (let i = 0; i < layers; i++) {
  norm(`blk.${i}.attn_norm`);
  linear(`blk.${i}.attn_qkv`, d, 3 * d);
  linear(`blk.${i}.attn_output`, d, d);
  norm(`blk.${i}.ffn_norm`);
  linear(`blk.${i}.ffn_up`, d, ffn);
  linear(`blk.${i}.ffn_down`, ffn, d);
}
const bytes = ([, of, columns, rows = 1]) => types[of][2] * (columns / 32) * rows;

const head = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(metadata.length)];
for (const [key, ...value] of metadata) head.push(text(key), ...value);
let offset = 0;
for (const t of tensors) {
  const [name, of, ...sizes] = t;
  head.push(text(name), u32(sizes.length), ...sizes.map(u64), u32(types[of][0]), u64(offset));
  offset += padded(bytes(t));
}
const file = openSync(path, "w");
const write = (b) => { for (let at = 0; at < b.length;) at += writeSync(file, b, at); };
const start = Buffer.concat(head);
write(start);
write(Buffer.alloc(padded(start.length) - start.length));
const tables = {f32: table("f32"), [type]: table(type)};
for (const t of tensors) {
  for (let left = padded(bytes(t)); left > 0;) {
    const part = tables[t[1]].subarray(0, left);
    write(part);
    left -= part.length;
  }
}
closeSync(file);
