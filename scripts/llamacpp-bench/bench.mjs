// Times llama.cpp, as the npm package node-llama-cpp ships it, on one GGUF
// file: the median tokens/s of a prompt of --pp tokens (to the first token that
// follows it) and of --tg tokens decoded greedily after one token, from a cold
// context, on the processor. Prints one line of JSON. run.sh calls it.
//
// With --first it tells the seconds from opening the file to the token behind a
// prompt of 8 instead.
//
//   node bench.mjs F.gguf [--first] [--pp 512] [--tg 128] [--reps 3] [--threads 2] [--ctx 512]
import {readFileSync} from "node:fs";
import {cpus} from "node:os";
import {parseArgs} from "node:util";
import {getLlama} from "node-llama-cpp";

const {values: flags, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    first: {type: "boolean", default: false},
    pp: {type: "string", default: "512"},
    tg: {type: "string", default: "128"},
    reps: {type: "string", default: "3"},
    threads: {type: "string", default: String(cpus().length)},
    ctx: {type: "string", default: "512"},
  },
});
const [pp, tg, reps, threads, ctx] = ["pp", "tg", "reps", "threads", "ctx"].map((name) => {
  const n = Number(flags[name]);
  if (!Number.isInteger(n) || n < 0) {
    throw new Error(`llamacpp-bench: --${name}: got ${flags[name]}, want a whole number`);
  }
  return n;
});
if (positionals.length !== 1) {
  throw new Error("llamacpp-bench: got no file, want one GGUF file");
}

const opened = performance.now();
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath: positionals[0], gpuLayers: 0, useMmap: true});
const context = await model.createContext({contextSize: ctx, batchSize: Math.max(1, pp), threads});
const sequence = context.getSequence();

// Ids of the vocabulary's middle, no two the same one after the other.
const ids = (n, from) => Array.from({length: n}, (_, i) => 300 + ((from + i) * 7919) % 40000);

// Seconds from the prompt to its next token, and from there on for n more.
async function once(prompt, n) {
  await sequence.clearHistory();
  const begin = performance.now();
  let first = begin, got = 0;
  for await (const _ of sequence.evaluate(prompt, {temperature: 0, yieldEogTokens: true})) {
    if (got === 0) first = performance.now();
    if (got++ === n) break;
  }
  return {prompt: (first - begin) / 1e3, decode: (performance.now() - first) / 1e3};
}

const median = (v) => v.toSorted((a, b) => a - b)[Math.floor((v.length - 1) / 2)];
const peak = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;

if (flags.first) {
  await once(ids(8, 0), 0);
  console.log(JSON.stringify({file: positionals[0], threads, first_s: (performance.now() - opened) / 1e3}));
  process.exit(0);
}
await once(ids(1, 0), Math.min(tg, 2)); // the file's first reading is not what is timed
const tgSpeeds = [], ppSpeeds = [];
for (let rep = 0; rep < reps; rep++) {
  if (tg > 0) tgSpeeds.push(tg / (await once(ids(1, rep), tg)).decode);
  if (pp > 0) ppSpeeds.push(pp / (await once(ids(pp, rep), 0)).prompt);
}
console.log(JSON.stringify({
  file: positionals[0], threads, ctx, reps,
  system: llama.systemInfo,
  ...(tg > 0 && {[`tg${tg}`]: median(tgSpeeds)}),
  ...(pp > 0 && {[`pp${pp}`]: median(ppSpeeds)}),
  peak_rss_bytes: peak(),
}));
process.exit(0);
