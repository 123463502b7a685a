// What llama.cpp makes of the twins that moe-twins.py wrote: its greedy tokens beside
// the reference's, by how much logarithms of probabilities differ at most, and whether
// SparseFlow goes on from the same prompts with the same tokens.
//
//   (cd scripts/llamacpp-bench && npm install)
//   node scripts/moe-twins.mjs OUT ../shared/golden/families SPARSEFLOW
import {spawnSync} from "node:child_process";
import {readFileSync, readdirSync} from "node:fs";
import {join} from "node:path";

const {getLlama} = await import(process.env.NODE_LLAMA_CPP ?? "./llamacpp-bench/node_modules/node-llama-cpp/dist/index.js");
const [out, golden, sparseflow] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const tokens = 20, eos = 2;

// What follows ids: the likeliest token, and the probabilities of all.
async function next(sequence, ids) {
  const items = ids.map((id, i) => i < ids.length - 1 ? id : [id, {generateNext: {token: true, probabilities: true, options: {temperature: 0}}}]);
  return (await sequence.controlledEvaluate(items)).at(-1).next;
}

// The tokens that a program goes on with.
async function theirs(sequence, ids) {
  await sequence.clearHistory();
  const got = [(await next(sequence, ids)).token];
  while (got.length < tokens) got.push((await next(sequence, [got.at(-1)])).token);
  return got;
}

function ours(file, ids) {
  const {status, stdout, stderr} = spawnSync(sparseflow, ["run", file, "--ids", ids.join(","), "--max-tokens", String(tokens),
    "--temperature", "0", "--kv", "f32", "--activations", "f32", "--json"], {encoding: "utf8"});
  if (status !== 0) throw new Error(`${sparseflow}: status ${status}: ${stderr.trim()}`);
  return JSON.parse(stdout).ids;
}

for (const file of readdirSync(out).filter((f) => f.endsWith(".gguf")).sort()) {
  let model;
  try {
    model = await llama.loadModel({modelPath: join(out, file), gpuLayers: 0, useMmap: true});
  } catch (e) {
    console.log(`${file}: llama.cpp does not load it: ${e.message}`);
    continue;
  }
  const context = await model.createContext({contextSize: 128, threads: 2, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"});
  const sequence = context.getSequence();
  let worst = 0, same = 0, greedy = 0, equal = 0;
  for (const c of JSON.parse(readFileSync(join(golden, file.split(".")[0], "golden.json"))).cases) {
    await sequence.clearHistory();
    let {token, probabilities} = await next(sequence, c.ids);
    const sum = Math.log(c.last_logits.reduce((s, v) => s + Math.exp(v), 0));
    for (const [id, p] of probabilities) worst = Math.max(worst, Math.abs(Math.log(p) - (c.last_logits[id] - sum)));
    if (!c.greedy_20) continue;
    for (const want of c.greedy_20) {
      greedy++;
      same += token === want;
      token = (await next(sequence, [want])).token;
    }
    const a = await theirs(sequence, c.ids), b = ours(join(out, file), c.ids);
    const end = a.indexOf(eos) < 0 ? a.length : a.indexOf(eos);
    const differs = [...b, eos].findIndex((id, i) => id !== a[i]); // b ends before an end-of-text token
    equal += differs < 0 || differs >= end ? tokens : differs;
  }
  console.log(`${file}: ${same} of ${greedy} greedy tokens are the reference's, ${equal} SparseFlow's; log-probabilities differ from the reference's by at most ${worst.toExponential(1)}`);
  await context.dispose();
  await model.dispose();
}
process.exit(0);
