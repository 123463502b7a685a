// The table of the rows that moe.mjs measured: node moe-table.mjs FILE.csv
import {readFileSync} from "node:fs";
import {fileURLToPath} from "node:url";

export const columns = ["round", "budget_share", "budget_bytes", "engine", "variant", "tokens", "tok_s", "bound_tok_s", "of_bound", "hit_rate", "units_per_token",
  "misses_per_token", "wanted_bytes_per_token", "missed_bytes_per_token", "ram_bytes_per_token", "read_bytes_per_token", "stall_ms", "memory_gb_s", "disk_gb_s",
  "first_token_s", "pp_tok_s", "pp_read_bytes", "peak_rss_bytes", "group_peak_bytes", "same_likeliest", "load_before", "seconds", "note"];

// The rows of a file: figures as numbers, what is not there left out.
export function readRows(path) {
  const [head, ...lines] = readFileSync(path, "utf8").trim().split("\n").filter((l) => !l.startsWith("#"));
  const names = head.split(",");
  return lines.map((line) => {
    const cells = [...line.matchAll(/("[^"]*"|[^,]*)(,|$)/g)].map((m) => m[1].replaceAll('"', ""));
    return Object.fromEntries(names.map((name, i) => [name, cells[i]]).filter(([, v]) => v).map(([name, v]) => [name, isNaN(v) ? v : Number(v)]));
  });
}

const known = (rows, name) => rows.map((r) => r[name]).filter((v) => v !== undefined);
const median = (v) => v.toSorted((a, b) => a - b)[Math.floor((v.length - 1) / 2)];
const least = (v) => (v.length ? Math.min(...v) : undefined), most = (v) => (v.length ? Math.max(...v) : undefined);
const show = (v, by = 1) => v === undefined ? "-" : v === 0 ? "0" : v / by >= 100 ? (v / by).toFixed(0) : (v / by).toPrecision(3);
const ratio = (a, b) => (a === undefined || b === undefined ? "-" : (a / b).toFixed(2));
const why = (rows) => rows.find((r) => r.note)?.note.slice(0, 24) ?? "-";

// Each budget's row, of SparseFlow's median run and of llama.cpp's best.
function summary(rows) {
  return [...new Set(known(rows, "budget_share"))].sort((a, b) => b - a).map((share) => {
    const of = (engine) => rows.filter((r) => r.budget_share === share && r.engine === engine);
    const own = of("sparseflow"), theirs = of("llama.cpp");
    const speed = median(known(own, "tok_s")), best = most(known(theirs, "tok_s"));
    const a = own.find((r) => r.tok_s === speed) ?? {}, b = theirs.find((r) => r.tok_s === best) ?? {};
    const [first, theirFirst] = [own, theirs].map((r) => least(known(r, "first_token_s")));
    const [pp, theirPP] = [own, theirs].map((r) => most(known(r, "pp_tok_s")));
    return {
      "budget": `${share} %`,
      "tokens/s": speed === undefined ? why(own) : show(speed),
      "llama.cpp's": best === undefined ? why(theirs) : show(best) + (share >= 100 ? ` ${b.variant}` : ""),
      "ratio": ratio(speed, best),
      "bound": show(a.bound_tok_s),
      "of bound": ratio(a.of_bound, 1),
      "hits": ratio(a.hit_rate, 1),
      "missed MB": show(a.missed_bytes_per_token, 1e6),
      "read MB": show(a.read_bytes_per_token, 1e6),
      "llama.cpp read MB": show(b.read_bytes_per_token, 1e6),
      "stall ms": show(a.stall_ms),
      "first token s": show(first),
      "llama.cpp's first": show(theirFirst),
      "first ratio": ratio(first, theirFirst),
      "prompt tokens/s": show(pp),
      "llama.cpp's prompt": show(theirPP),
      "prompt ratio": ratio(pp, theirPP),
      "peak / budget GB": a.peak_rss_bytes === undefined ? "-" : `${show(most(known(own, "peak_rss_bytes")), 1e9)} / ${show(a.budget_bytes, 1e9)}`,
    };
  });
}

function widen(table) {
  const widths = table[0].map((_, i) => Math.max(...table.map((r) => r[i].length)));
  return table.map((row) => row.map((c, i) => c.padStart(widths[i])).join("  ")).join("\n");
}

export function text(rows) {
  const list = summary(rows);
  if (!list.length) return "no rows";
  const speeds = (name, by) => `${show(least(known(rows, name)), by)} to ${show(most(known(rows, name)), by)}`;
  return [widen([Object.keys(list[0]), ...list.map((r) => Object.values(r))]),
    ...!known(rows, "disk_gb_s").length ? [] : [`bounds are of memory of ${speeds("memory_gb_s")} GB/s and a disk of ${speeds("disk_gb_s")} GB/s, measured beside each run; MB are a token's`],
    ...rows.filter((r) => r.engine === "sparseflow" && r.peak_rss_bytes > r.budget_bytes).map((r) => `OVER BUDGET at ${r.budget_share} %: ${r.peak_rss_bytes} of ${r.budget_bytes} bytes`),
    ...known(rows, "same_likeliest").map((v) => `the likeliest next token was llama.cpp's at ${v} places of the text`)].join("\n");
}

// Some columns of the same as a table of Markdown: all from the first one to before the
// last one, behind the budget.
export function markdown(rows, first, last) {
  const list = summary(rows), names = Object.keys(list[0] ?? {}), end = names.indexOf(last);
  const some = ["budget", ...names.slice(names.indexOf(first), end < 0 ? names.length : end)];
  return [some, some.map(() => "---"), ...list.map((r) => some.map((name) => r[name]))].map((r) => `| ${r.join(" | ")} |`).join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(text(readRows(process.argv[2])));
