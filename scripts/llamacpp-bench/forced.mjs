// Times llama.cpp, as the npm package node-llama-cpp ships it, on ids that it is
// forced to decode one by one, output head and sampling included, and prints one
// line of JSON. moe.mjs calls it; what it does is what "sparseflow bench" does:
//
//   1. a prompt of the first 8 ids, from a cold start (START, milliseconds since
//      1970, is when the process was started);
//   2. with --check N, N ids one by one, of which it tells the likeliest successors;
//   3. --warm ids, one by one, and then --tg more, which are timed;
//   4. a prompt of --pp ids.
//
// Each text but the first begins with --bos or else the first id. --seconds ends
// 3 early, of which "tokens" then tells.
//
//   node forced.mjs F.gguf --ids FILE [--bos ID] [--check 0] [--warm 32] [--tg 32] [--pp 0] [--threads 2] [--ctx 1024] [--no-mmap]
import {readFileSync} from "node:fs";
import {parseArgs} from "node:util";
import {getLlama} from "node-llama-cpp";

const {values: f, positionals: [file]} = parseArgs({
  allowPositionals: true,
  options: {
    ids: {type: "string"}, bos: {type: "string", default: "-1"}, check: {type: "string", default: "0"},
    warm: {type: "string", default: "32"}, tg: {type: "string", default: "32"}, pp: {type: "string", default: "0"},
    seconds: {type: "string", default: "1e9"}, threads: {type: "string", default: "2"}, ctx: {type: "string", default: "1024"},
    "no-mmap": {type: "boolean", default: false},
  },
});
if (!file || !f.ids) throw new Error("forced: got no file or no --ids, want a GGUF file and a file of ids");
const [bos, check, warm, tg, pp] = [f.bos, f.check, f.warm, f.tg, f.pp].map(Number);
const start = Number(process.env.START ?? Date.now());
const bytesRead = () => Number(/^read_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))[1]);
const seconds = async (run) => {
  const begin = performance.now();
  await run();
  return (performance.now() - begin) / 1e3;
};

const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath: file, gpuLayers: 0, useMmap: !f["no-mmap"]});
const out = {load_s: (Date.now() - start) / 1e3};
const vocab = model.fileInfo.metadata.tokenizer.ggml.tokens.length; // ids beyond it are folded, as bench does
const ids = readFileSync(f.ids, "utf8").split(/[\s,]+/).filter(Boolean).map((v) => Number(v) % vocab);
const context = await model.createContext({contextSize: Number(f.ctx), batchSize: 512, threads: Number(f.threads)});
const sequence = context.getSequence();

// The likeliest successor of a piece of text.
async function step(piece) {
  const last = piece.length - 1;
  const res = await sequence.controlledEvaluate(piece.map((id, i) => i < last ? id : [id, {generateNext: {token: true, options: {temperature: 0}}}]));
  return res[last]?.next?.token;
}
const begin = async () => {
  await sequence.clearHistory();
  await step(bos >= 0 ? [bos] : [ids[0]]);
};

await step(bos >= 0 ? [bos, ...ids.slice(0, 8)] : ids.slice(0, 8));
out.first_token_s = (Date.now() - start) / 1e3;
if (check > 0) {
  await sequence.clearHistory();
  if (bos >= 0) await step([bos]);
  out.argmax = [];
  for (const id of ids.slice(0, check)) out.argmax.push(await step([id]));
}
// As bench, which checks its output on the first 128 ids of the text.
let at = 128;
const until = performance.now() + 1e3 * Number(f.seconds);
await begin();
for (const end = at + warm; at < end && performance.now() < until; at++) await step([ids[at]]);
await begin();
const before = bytesRead();
let n = 0;
const took = await seconds(async () => {
  for (; n < tg && (n < 2 || performance.now() < until); n++) await step([ids[at++]]);
});
if (n > 0) Object.assign(out, {tokens: n, tok_s: n / took, read_bytes_per_token: (bytesRead() - before) / n});
if (pp > 0) {
  await sequence.clearHistory();
  const prompt = ids.slice(128 + warm, 128 + warm + pp), before = bytesRead();
  const took = await seconds(() => step(prompt));
  Object.assign(out, {pp_tok_s: prompt.length / took, pp_read_bytes: bytesRead() - before});
}
out.peak_rss_bytes = Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
console.log(JSON.stringify(out));
process.exit(0);
