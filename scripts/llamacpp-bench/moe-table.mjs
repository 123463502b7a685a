// The table of the rows that moe.mjs measured: node moe-table.mjs FILE.csv
import {readFileSync} from "node:fs";
import {fileURLToPath} from "node:url";

export const columns = ["round", "budget_share", "budget_bytes", "engine", "variant", "tokens", "tok_s", "bound_tok_s", "of_bound", "hit_rate", "units_per_token",
  "misses_per_token", "ram_bytes_per_token", "missed_bytes_per_token", "read_bytes_per_token", "stall_ms", "memory_gb_s", "disk_gb_s", "first_token_s",
  "pp_tok_s", "pp_read_bytes", "peak_rss_bytes", "group_peak_bytes", "same_likeliest", "load_before", "seconds", "note"];

// The rows of a file, figures as numbers.
export function readRows(path) {
  const [head, ...lines] = readFileSync(path, "utf8").trim().split("\n").filter((l) => !l.startsWith("#"));
  const names = head.split(",");
  return lines.map((line) => {
    const cells = [...line.matchAll(/("[^"]*"|[^,]*)(,|$)/g)].map((m) => m[1].replaceAll('"', ""));
    return Object.fromEntries(names.map((name, i) => [name, cells[i] !== "" && cells[i] !== undefined && !isNaN(cells[i]) ? Number(cells[i]) : cells[i]]));
  });
}

const known = (rows, name) => rows.map((r) => r[name]).filter((v) => typeof v === "number");
const median = (v) => v.toSorted((a, b) => a - b)[Math.floor((v.length - 1) / 2)];
const least = (v) => (v.length ? Math.min(...v) : undefined), most = (v) => (v.length ? Math.max(...v) : undefined);
const show = (v, digits = 3) => v === undefined ? "-" : v >= 100 ? v.toFixed(0) : v.toPrecision(digits);
const ratio = (a, b) => (a === undefined || b === undefined ? "-" : (a / b).toFixed(2));
const scaled = (v, by) => (v === undefined ? undefined : v / by);

// Each budget's row: SparseFlow's median and llama.cpp's best run.
export function summary(rows) {
  return [...new Set(rows.map((r) => r.budget_share))].map((share) => {
    const of = (engine) => rows.filter((r) => r.budget_share === share && r.engine === engine);
    const own = of("sparseflow"), theirs = of("llama.cpp");
    const speed = median(known(own, "tok_s")), shown = own.find((r) => r.tok_s === speed) ?? {};
    const best = most(known(theirs, "tok_s")), llama = theirs.find((r) => r.tok_s === best) ?? {};
    return {
      share, own: shown, llama, speed, best,
      first: least(known(own, "first_token_s")), llamaFirst: least(known(theirs, "first_token_s")),
      pp: most(known(own, "pp_tok_s")), llamaPP: most(known(theirs, "pp_tok_s")),
      peak: most(known(own, "peak_rss_bytes")), why: theirs.find((r) => r.note)?.note ?? "",
    };
  });
}

export function cells(rows) {
  const num = (v) => (typeof v === "number" ? v : undefined);
  return [["budget", "tokens/s", "llama.cpp", "ratio", "bound", "of bound", "hits", "read MB/token", "llama.cpp", "stall ms", "first token s", "llama.cpp", "ratio", "pp tokens/s", "llama.cpp", "ratio", "peak / budget GB"],
    ...summary(rows).map((s) => [`${s.share} %`, show(s.speed), s.best === undefined && s.why ? s.why.slice(0, 16) : show(s.best) + (s.llama.variant && s.share >= 100 ? ` (${s.llama.variant})` : ""), ratio(s.speed, s.best),
      show(num(s.own.bound_tok_s)), ratio(num(s.own.of_bound), 1), ratio(num(s.own.hit_rate), 1), show(scaled(num(s.own.read_bytes_per_token), 1e6)), show(scaled(num(s.llama.read_bytes_per_token), 1e6)),
      show(num(s.own.stall_ms)), show(s.first), show(s.llamaFirst), ratio(s.first, s.llamaFirst), show(s.pp), show(s.llamaPP), ratio(s.pp, s.llamaPP),
      s.peak === undefined ? "-" : `${show(s.peak / 1e9)} / ${show(s.own.budget_bytes / 1e9)}`])];
}

export function printTable(rows) {
  const table = cells(rows), widths = table[0].map((_, i) => Math.max(...table.map((r) => r[i].length)));
  for (const row of table) console.log(row.map((c, i) => c.padStart(widths[i])).join("  "));
  for (const r of rows) {
    if (r.same_likeliest) console.log(`the likeliest next token is llama.cpp's at ${r.same_likeliest} places of the text`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [path, form] = process.argv.slice(2);
  if (form !== "--markdown") printTable(readRows(path));
  else cells(readRows(path)).forEach((row, i) => console.log(`| ${row.join(" | ")} |${i ? "" : `\n|${row.map(() => "---").join("|")}|`}`));
}
