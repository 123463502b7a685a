// Puts what moe.mjs measured into docs: its rows into docs/results, its tables into
// docs/performance.md, where a comment of the file's name marks the place, and the
// picture beside them. moe-compare.sh -D calls it.
import {execFileSync} from "node:child_process";
import {copyFileSync, existsSync, readFileSync, realpathSync, writeFileSync} from "node:fs";
import {basename, dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {markdown, readRows} from "./moe-table.mjs";

const csv = process.argv[2], name = basename(csv, ".csv");
const root = join(dirname(fileURLToPath(import.meta.url)), "../.."), kept = join(root, "docs/results", `${name}.csv`), page = join(root, "docs/performance.md");
if (!existsSync(kept) || realpathSync(csv) !== realpathSync(kept)) copyFileSync(csv, kept);
const head = readFileSync(csv, "utf8").split("\n", 1)[0].replace(/^# */, "");
execFileSync("go", ["run", "./cmd/sparseflow", "bench", head.split(",")[0], "--compared", kept, "--svg", join(root, "docs", `${name}.svg`)],
  {cwd: root, stdio: "inherit", env: {...process.env, CGO_ENABLED: "0"}});
const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`], text = readFileSync(page, "utf8");
const from = text.indexOf(begin), to = text.indexOf(end);
if (from < 0 || to < from) throw new Error(`${page}: got no ${begin} before ${end}, want them around the place of the tables`);
const body = `${begin}\n${head} ([results/${name}.csv](results/${name}.csv)).\n\n${markdown(readRows(csv))}\n![Tokens a second and hit rate by budget](${name}.svg)\n${end}`;
writeFileSync(page, text.slice(0, from) + body + text.slice(to + end.length));
console.log(`${page}: ${name}`);
