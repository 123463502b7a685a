// Times SparseFlow and llama.cpp on one GGUF file by budget, each inside a memory
// cgroup of that size, and prints one table. ../moe-compare.sh calls it and says
// what it means.
import {spawn, execFileSync} from "node:child_process";
import {appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync} from "node:fs";
import {basename, dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {columns, readRows, text} from "./moe-table.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const env = process.env; // set by moe-compare.sh
const file = env.FILE, size = statSync(file).size;
const [tg, warm, pp, threads, ctx, rounds, minutes, timeout] =
  ["TG", "WARM", "PP", "THREADS", "CTX", "ROUNDS", "MINUTES", "TIMEOUT"].map((name) => Number(env[name]));
const budgets = env.BUDGETS.split(",").map(Number), promptRows = env.PROMPT_ROWS.split(",").map(Number), engines = env.ENGINES.split(",");
const tell = (text) => process.stderr.write(text + "\n");

// A memory cgroup of a size, none where the budget is the whole file: then both have
// the machine's memory.
function makeGroup(bytes) {
  if (!bytes) return {run: [], peak: () => 0, remove() {}};
  const two = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const dir = join("/sys/fs/cgroup", two ? "" : "memory", `${env.GROUP}-${Date.now()}`);
  mkdirSync(dir);
  const set = (name, value) => writeFileSync(join(dir, name), String(value));
  set(two ? "memory.max" : "memory.limit_in_bytes", bytes);
  try {
    set(two ? "memory.swap.max" : "memory.memsw.limit_in_bytes", two ? 0 : bytes);
  } catch { /* a kernel that does not account for swap */ }
  return {
    run: [join(here, "in-group.sh"), dir],
    peak: () => Number(readFileSync(join(dir, two ? "memory.peak" : "memory.max_usage_in_bytes"), "utf8")),
    remove: () => rmdirSync(dir),
  };
}

// What a program prints as JSON; an Error that says how it ended otherwise.
function run(command, args, more = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {env: {...env, START: String(Date.now()), ...more}, stdio: ["ignore", "pipe", "pipe"]});
    let out = "", err = "";
    child.stdout.on("data", (b) => out += b);
    child.stderr.on("data", (b) => err += b);
    const timer = setTimeout(() => child.kill("SIGKILL"), 1e3 * (timeout + 60));
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      const line = out.slice(out.indexOf("{"));
      if (status === 0 && line) return resolve(JSON.parse(line));
      reject(new Error(signal ? "killed" : err.split("\n").find((l) => /^\w*Error\b/.test(l))?.trim() || err.trim().split("\n").at(-1) || `status ${status}`));
    });
  });
}

let proof; // of SparseFlow's first row
const best = {tok_s: 0}; // of llama.cpp with all in memory: later rounds run that variant alone

async function ours(job, group) {
  const tests = [`tg${tg}`, ...job.prompt ? [`pp${pp}`] : []].join(",");
  const out = await run(env.SPARSEFLOW, ["bench", file, "--ids", env.IDS, "--budget", job.bytes ? String(job.bytes) : "100%", "--modes", "sparse",
    "--tests", tests, "--warm", String(warm), "--reps", "1", "--threads", String(threads), "--ctx", String(ctx), "--timeout", `${timeout}s`,
    "--json", ...group.run.length ? ["--exec", group.run.join(" ")] : []]);
  if (out.skipped.length) throw new Error(out.skipped[0].why);
  if (proof && proof.logits_sha256 !== out.proof.logits_sha256) throw new Error(`another output than at ${budgets[0]} %`);
  proof ??= out.proof;
  const row = out.rows.find((r) => r.test === `tg${tg}`), prompt = out.rows.find((r) => r.test === `pp${pp}`);
  return {
    budget_bytes: row.budget_bytes, tokens: row.tokens, tok_s: row.tok_s, hit_rate: row.hit_rate, units_per_token: row.units_per_token, misses_per_token: row.misses_per_token,
    ram_bytes_per_token: row.bytes_per_token_fast, wanted_bytes_per_token: row.wanted_bytes_per_token, missed_bytes_per_token: row.missed_bytes_per_token, read_bytes_per_token: row.bytes_per_token_slow,
    stall_ms: row.stall_ms, memory_gb_s: row.bound_memory_gb_s, disk_gb_s: row.bound_disk_gb_s, bound_tok_s: row.bound_tok_s, of_bound: row.share_of_bound,
    first_token_s: row.first_token_s, peak_rss_bytes: row.peak_rss_bytes,
    ...prompt && {pp_tok_s: prompt.tok_s, pp_read_bytes: prompt.bytes_per_token_slow * pp},
  };
}

async function llama(job, group) {
  const check = proof && !proof.compared ? proof.likeliest.length : 0;
  const args = [join(here, "forced.mjs"), file, "--ids", env.IDS, `--bos=${proof?.bos ?? -1}`, "--warm", String(warm), "--tg", String(tg),
    "--pp", String(job.prompt ? pp : 0), "--check", String(check), "--threads", String(threads), "--ctx", String(ctx), "--seconds", env.LLAMA_SECONDS,
    ...job.variant === "nommap" ? ["--no-mmap"] : []];
  const [command, ...before] = [...group.run, process.execPath];
  const {argmax, load_s, ...row} = await run(command, [...before, ...args], job.variant === "norepack" ? {LD_PRELOAD: env.NOREPACK} : {});
  if (argmax) {
    proof.compared = true;
    row.same_likeliest = `${argmax.filter((id, i) => id === proof.likeliest[i]).length} of ${argmax.length}`;
  }
  return row;
}

// The jobs of one round: each budget by each engine, the engines in turns first.
function jobs(round) {
  const list = [];
  for (const share of budgets) {
    const whole = share >= 100, prompt = pp > 0 && promptRows.includes(share) && round === 0;
    const of = {share, round, prompt, bytes: whole ? 0 : Math.floor(size * share / 100)};
    const pair = [];
    if (engines.includes("ours")) pair.push({...of, engine: "sparseflow", variant: ""});
    if (engines.includes("llama")) {
      // What it is best by depends: repacked weights are the fastest where they fit.
      const variants = !whole ? ["norepack"] : best.variant ? [best.variant] : env.VARIANTS.split(",");
      for (const variant of variants) {
        pair.push({...of, engine: "llama.cpp", variant, prompt: prompt && (variant !== "nommap" || variants.length === 1)});
      }
    }
    list.push(...round % 2 ? pair.reverse() : pair);
  }
  return list;
}

const begin = Date.now(), lasted = new Map(), left = () => 60 * minutes - (Date.now() - begin) / 1e3;
const started = new Date().toISOString().slice(0, 16);
if (!env.APPEND || !existsSync(env.CSV)) writeFileSync(env.CSV, `# ${basename(file)}, ${size} bytes, ${execFileSync(env.SPARSEFLOW, ["version"], {encoding: "utf8"}).split("\n")[0]} beside node-llama-cpp ${env.LLAMA_VERSION}, ${threads} threads, ${env.MACHINE}, ${started}Z; ${warm} warm and ${tg} timed tokens, read-ahead ${env.READ_AHEAD} KiB\n${columns.join(",")}\n`);
for (let round = 0; round < rounds; round++) {
  for (const job of jobs(round)) {
    const key = job.share + job.engine + job.variant;
    if (round > 0 && (lasted.get(key) ?? Infinity) > left()) continue;
    tell(`${((Date.now() - begin) / 60e3).toFixed(1)} min: round ${round + 1}, ${job.share} %, ${job.engine} ${job.variant}${job.prompt ? `, with a prompt of ${pp}` : ""}`);
    const at = Date.now(), group = makeGroup(job.bytes);
    const row = {round: round + 1, budget_share: job.share, budget_bytes: job.bytes || size, engine: job.engine, variant: job.variant};
    row.load_before = Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]);
    try {
      writeFileSync("/proc/sys/vm/drop_caches", "3");
      Object.assign(row, await (job.engine === "sparseflow" ? ours : llama)(job, group));
    } catch (e) {
      row.note = e.message;
      tell(`  ${e.message}`);
    }
    row.group_peak_bytes = group.peak();
    try { // a group is empty a moment after its last process
      await new Promise((done) => setTimeout(done, 200));
      group.remove();
    } catch (e) { tell(`  ${e.message}`); }
    row.seconds = (Date.now() - at) / 1e3;
    if (!job.bytes && job.engine === "llama.cpp" && row.tok_s > best.tok_s) Object.assign(best, {variant: job.variant, tok_s: row.tok_s});
    if (!row.note) lasted.set(key, row.seconds - (job.prompt ? pp / (row.pp_tok_s ?? pp) : 0));
    appendFileSync(env.CSV, columns.map((c) => field(row[c])).join(",") + "\n");
  }
}
console.log(text(readRows(env.CSV)));
tell(`${((Date.now() - begin) / 60e3).toFixed(1)} minutes; rows in ${env.CSV}`);

function field(v) {
  if (v === undefined) return "";
  const s = typeof v === "number" && !Number.isInteger(v) ? v.toPrecision(5) : String(v);
  return /[",\n]/.test(s) ? `"${s.replaceAll('"', "'").replaceAll("\n", " ")}"` : s;
}
