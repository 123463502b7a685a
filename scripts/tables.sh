#!/usr/bin/env bash
# The speed tables of docs/performance.md for one model: runs bench on a
# simulated disk, keeps every row as CSV and prints the table as Markdown.
#
#   scripts/tables.sh MODEL [CSV]      needs python3; SPARSEFLOW is the binary
set -euo pipefail
model=$1
csv=${2:-/dev/null}
sparseflow=${SPARSEFLOW:-sparseflow}
disk=57kiops,0.95GB/s,100us
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
bench() { "$sparseflow" bench "$model" --kv f16 --json "${@:2}" >"$dir/$1.json"; }

bench "58%" --budget 58% --reps 3 --tests tg128 --modes dense,resident,sparse,naive --sim-disk $disk
bench "45%" --budget 45% --reps 3 --tests tg128 --modes sparse --sim-disk $disk
bench "58%, synchronous" --budget 58% --reps 1 --tests tg32 --modes sparse --async-transfer=false --sim-disk $disk
bench "all resident" --reps 1 --tests pp512 --modes dense,resident

python3 - "$dir" "$csv" <<'PYTHON'
import csv, glob, json, os, sys
columns = ["test", "mode", "tok_s", "share_of_limit", "limit_gb_s", "misses_per_token", "stall_ms",
           "bytes_per_token_fast", "bytes_per_token_slow", "first_token_s", "peak_rss_bytes", "budget_bytes"]
with open(sys.argv[2], "w", newline="") as f:
    out = csv.writer(f, lineterminator="\n")
    out.writerow(["run"] + columns)
    print("| run | test | mode | tokens/s | of load-only | stall, ms | first token, s |\n|---|---|---|---|---|---|---|")
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.json"))):
        run = os.path.basename(path)[:-len(".json")]
        for row in json.load(open(path))["rows"]:
            out.writerow([run] + [row.get(c, "") for c in columns])
            print(f"| {run} | {row['test']} | {row['mode']} | {row['tok_s']:.3g} | {row['share_of_limit']:.2f} "
                  f"| {row['stall_ms']:.1f} | {row['first_token_s']:.2f} |")
PYTHON
