// What llama.cpp makes of the twins that moe-twins.py wrote: its greedy tokens beside
// the reference's, and by how much logarithms of probabilities differ at most.
//
//   (cd scripts/llamacpp-bench && npm install)
//   node scripts/moe-twins.mjs OUT ../shared/golden/families
import {existsSync, readFileSync, readdirSync} from "node:fs";
import {join} from "node:path";

const {getLlama} = await import(process.env.NODE_LLAMA_CPP ?? "./llamacpp-bench/node_modules/node-llama-cpp/dist/index.js");
const [out, golden] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});

// The probabilities of what follows ids.
async function next(sequence, ids) {
  const items = ids.map((id, i) => i < ids.length - 1 ? id : [id, {generateNext: {token: true, probabilities: true, options: {temperature: 0}}}]);
  return (await sequence.controlledEvaluate(items)).at(-1).next;
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
  let worst = 0, same = 0, greedy = 0;
  for (const c of JSON.parse(readFileSync(join(golden, file.split(".")[0], "golden.json"))).cases) {
    await sequence.clearHistory();
    let {token, probabilities} = await next(sequence, c.ids);
    const sum = Math.log(c.last_logits.reduce((s, v) => s + Math.exp(v), 0));
    for (const [id, p] of probabilities) worst = Math.max(worst, Math.abs(Math.log(p) - (c.last_logits[id] - sum)));
    for (const want of c.greedy_20 ?? []) {
      greedy++;
      same += token === want;
      token = (await next(sequence, [want])).token;
    }
  }
  console.log(`${file}: ${same} of ${greedy} greedy tokens are the reference's; log-probabilities differ by at most ${worst.toExponential(1)}`);
  await context.dispose();
  await model.dispose();
}
process.exit(0);
