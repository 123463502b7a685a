// Puts what moe.mjs measured into docs: its rows into docs/results, its picture into
// docs, and its tables into docs/performance.md and README.md, where comments of the
// file's name mark the place. moe-compare.sh -D calls it.
import {execFileSync} from "node:child_process";
import {copyFileSync, existsSync, readFileSync, realpathSync, writeFileSync} from "node:fs";
import {basename, dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {markdown, readRows} from "./moe-table.mjs";

const of = {
  "moe-q30": "Qwen3-30B-A3B's shape in Q4_K_M, drawn weights with a real model's routing statistics",
  "moe-gptoss": "gpt-oss-20b's shape in MXFP4, drawn weights with a real model's routing statistics",
};
const csv = process.argv[2], name = basename(csv, ".csv"), caption = of[name];
if (!caption) throw new Error(`${csv}: got a file of this name, want one of ${Object.keys(of).map((n) => `${n}.csv`).join(", ")}`);
const root = join(dirname(fileURLToPath(import.meta.url)), "../.."), kept = join(root, "docs/results", `${name}.csv`);
if (!existsSync(kept) || realpathSync(csv) !== realpathSync(kept)) copyFileSync(csv, kept);
const head = readFileSync(kept, "utf8").split("\n", 1)[0].replace(/^# */, ""), rows = readRows(kept);
execFileSync("go", ["run", "./cmd/sparseflow", "bench", caption.split(",")[0], "--compared", kept, "--svg", join(root, "docs", `${name}.svg`)],
  {cwd: root, stdio: "inherit", env: {...process.env, CGO_ENABLED: "0"}});

function put(page, body) {
  const path = join(root, page), text = readFileSync(path, "utf8"), begin = `<!-- ${name} -->`, end = `<!-- /${name} -->`;
  const from = text.indexOf(begin), to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${path}: got no ${begin} before ${end}, want them around the place of the tables`);
  writeFileSync(path, text.slice(0, from) + [begin, ...body, end].join("\n") + text.slice(to + end.length));
  console.log(path);
}

put("docs/performance.md", [`${caption} (${head}; [results/${name}.csv](results/${name}.csv)):`, "", markdown(rows, "tokens/s", "read MB"), "",
  markdown(rows, "read MB"), "", `![Tokens a second and hit rate by budget](${name}.svg)`]);
if (name === "moe-q30") {
  put("README.md", [`A mixture of experts (${caption}) by budget, beside llama.cpp at its best in a memory cgroup of the same size, two cores:`, "",
    `![Tokens a second and hit rate by budget](docs/${name}.svg)`, "", markdown(rows, "tokens/s", "hits")]);
}
