#!/usr/bin/env bash
# Runs a checkpoint of drawn weights of about 1 GB under a real memory limit (a memory
# cgroup) of a third of its size, which is also the byte budget: converting it,
# loading it and generating. Shows that the process lives, that its peak
# resident memory is under the budget, and that dense output is that of a run
# without a limit. Needs root, or a memory cgroup that can be written to.
#
#   scripts/memory-limit.sh [LAYERS]    # 10 layers are 1.05 GB
set -euo pipefail
cd "$(dirname "$0")/.."
layers=${1:-10}
dir=$(mktemp -d)
group=
cleanup() {
  if [ -n "$group" ]; then rmdir "$group" 2>/dev/null || true; fi
  rm -rf "$dir"
}
trap cleanup EXIT

go build -o "$dir/sparseflow" ./cmd/sparseflow
"$dir/sparseflow" synth --shape custom --hidden 2048 --heads 32 --vocab 8192 --layers "$layers" -o "$dir/model"
size=$(stat -c %s "$dir/model/model.safetensors")
limit=$((size / 3))
echo "checkpoint: $size bytes; budget and limit: $limit bytes"

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then # version 2
  group=/sys/fs/cgroup/sparseflow-test-$$
  mkdir "$group"
  echo "$limit" >"$group/memory.max"
  if [ -f "$group/memory.swap.max" ]; then echo 0 >"$group/memory.swap.max"; fi
elif [ -d /sys/fs/cgroup/memory ]; then # version 1
  group=/sys/fs/cgroup/memory/sparseflow-test-$$
  mkdir "$group"
  echo "$limit" >"$group/memory.limit_in_bytes"
else
  echo "memory-limit: got no memory cgroup, want one at /sys/fs/cgroup" >&2
  exit 1
fi

ids=2$(seq -s '' -f ',%g' 40 31 7900) # 254 tokens: with those generated, nearly all of the context
flags=(--ids "$ids" --ctx 262 --max-tokens 6 --ignore-eos --repetition-penalty 1.5 --cache-dir "$dir/cache" --json)
number() { grep -o "\"$1\":[0-9]*" | cut -d: -f2; }
tokens() { grep -o '"ids":\[[^]]*\]'; }
limited() { # inside the cgroup, which the shell enters before it becomes the program
  bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' _ "$group" "$dir/sparseflow" "$@"
}

for mode in dense gate auto; do
  out=$(limited run "$dir/model" --budget "$limit" --mode "$mode" "${flags[@]}")
  peak=$(number peak_rss_bytes <<<"$out")
  echo "$mode: peak resident $peak bytes, $((100 * peak / limit)) % of the budget: $(tokens <<<"$out")"
  if [ "$peak" -gt "$limit" ]; then
    echo "memory-limit: $mode: got a peak of $peak bytes, want at most $limit" >&2
    exit 1
  fi
  if [ "$mode" != auto ]; then
    tokens <<<"$out" >"$dir/$mode.limited"
  fi
done
"$dir/sparseflow" run "$dir/model" --mode dense "${flags[@]}" | tokens >"$dir/unlimited"
cmp "$dir/dense.limited" "$dir/unlimited"
cmp "$dir/gate.limited" "$dir/unlimited"

# The smallest budget that plan names works, and one byte less is refused.
least=$("$dir/sparseflow" plan "$dir/model" --ctx 262 --json | number minimum_bytes | head -1)
if [ -f "$group/memory.max" ]; then echo "$least" >"$group/memory.max"; else echo "$least" >"$group/memory.limit_in_bytes"; fi
out=$(limited run "$dir/model" --budget "$least" --mode dense "${flags[@]}")
peak=$(number peak_rss_bytes <<<"$out")
echo "smallest budget $least bytes: peak resident $peak bytes, $((100 * peak / least)) %"
tokens <<<"$out" | cmp - "$dir/unlimited"
test "$peak" -le "$least"
status=0
"$dir/sparseflow" run "$dir/model" --budget $((least - 1)) "${flags[@]}" >/dev/null || status=$?
test "$status" = 3
echo "memory-limit: passed"
