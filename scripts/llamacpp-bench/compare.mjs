// Times SparseFlow and llama.cpp in turns on the same GGUF files and prints what
// share of llama.cpp's speed SparseFlow has: tokens/s of a prompt (pp) and of
// decoding (tg), and the time from opening the file to the first token behind a
// prompt of 8 (first, where less is better). "of limit" is the share of the speed
// at which the same bytes are loaded without computing that decoding has. Each round starts a process of each;
// the median of the rounds counts. compare.sh calls it.
//
//   node compare.mjs --sparseflow BINARY [--rounds 3] [--pp 512] [--tg 128] [--threads 2] [--ctx 1024] F.gguf ...
import {spawnSync} from "node:child_process";
import {basename, dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {parseArgs} from "node:util";

const {values: flags, positionals: files} = parseArgs({
  allowPositionals: true,
  options: {
    sparseflow: {type: "string"},
    rounds: {type: "string", default: "3"},
    pp: {type: "string", default: "512"},
    tg: {type: "string", default: "128"},
    threads: {type: "string", default: "2"},
    ctx: {type: "string", default: "1024"},
  },
});
if (!flags.sparseflow || files.length === 0) {
  throw new Error("compare: got no --sparseflow or no file, want a binary and GGUF files");
}

// What a program prints.
function run(program, args) {
  const {status, stdout, stderr} = spawnSync(program, args, {encoding: "utf8", maxBuffer: 1 << 28});
  if (status !== 0) throw new Error(`compare: ${program} ${args.join(" ")}: status ${status}: ${stderr.trim()}`);
  return stdout;
}

const here = dirname(fileURLToPath(import.meta.url));
const common = ["--threads", flags.threads];

function ours(file) {
  const out = JSON.parse(run(flags.sparseflow, ["bench", file, ...common, "--ctx", flags.ctx, "--modes", "dense", "--reps", "1",
    "--budget", "100%", "--tests", `pp${flags.pp},tg${flags.tg}`, "--json"]));
  const result = {};
  for (const row of out.rows) {
    result[row.test.slice(0, 2)] = row.tok_s;
    if (row.test.startsWith("tg")) result.limit = row.share_of_limit;
  }
  const begin = performance.now();
  run(flags.sparseflow, ["run", file, ...common, "--ids", "300,301,302,303,304,305,306,307", "--max-tokens", "1"]);
  return {...result, first: (performance.now() - begin) / 1e3};
}

function llama(file) {
  const bench = (...more) => JSON.parse(run(process.execPath, [join(here, "bench.mjs"), file, ...common, "--ctx", flags.ctx, "--reps", "1", ...more]));
  const out = bench("--pp", flags.pp, "--tg", flags.tg);
  return {pp: out[`pp${flags.pp}`], tg: out[`tg${flags.tg}`], first: bench("--first").first_s};
}

const median = (v) => v.toSorted((a, b) => a - b)[Math.floor((v.length - 1) / 2)];
const show = (v) => (v === undefined ? "-" : v.toPrecision(3)).padStart(10);
console.log("test".padEnd(8) + ["SparseFlow", "llama.cpp", "ratio"].map((s) => s.padStart(10)).join("") + "  file");
for (const file of files) {
  const rounds = [];
  for (let i = 0; i < Number(flags.rounds); i++) {
    rounds.push(i % 2 ? {theirs: llama(file), own: ours(file)} : {own: ours(file), theirs: llama(file)});
  }
  for (const test of ["tg", "pp", "first"]) {
    const [own, theirs] = ["own", "theirs"].map((who) => median(rounds.map((r) => r[who][test])));
    console.log((test + (flags[test] ?? "")).padEnd(8) + show(own) + show(theirs) + show(own / theirs) + "  " + basename(file));
  }
  console.log("of limit" + show(median(rounds.map((r) => r.own.limit))) + "".padStart(20) + "  " + basename(file));
}
