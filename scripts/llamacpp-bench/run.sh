#!/usr/bin/env bash
# What a user would run in SparseFlow's place: llama.cpp, as the npm package
# node-llama-cpp ships it, on a GGUF file of GPT-2's architecture (it has no
# OPT) with random weights and an OPT model's shape: all resident, and by mmap
# under a real memory limit. Prints lines of JSON.
#
#   scripts/llamacpp-bench/run.sh [-s opt-125m|opt-1.3b|opt-6.7b] [-t f16|q8_0|q4_0]
#       [-b SHARE%] [-p TOKENS] [-g TOKENS] [-r REPS] [-d DIR]
#
# -b limits memory to that share of the file's size (58% unless given; 0% leaves
# the limited run out); needs root, or a memory cgroup that can be written to.
# Under the limit 8 tokens are decoded and no prompt, as bench has it. DIR keeps
# the package and the files (by default one that is removed). Needs Node.js 20 or
# later and npm.
set -euo pipefail
cd "$(dirname "$0")/../.."
shape=opt-125m type=f16 share=58 pp=512 tg=128 reps=3 dir=
while getopts s:t:b:p:g:r:d: flag; do
  case $flag in
    s) shape=$OPTARG ;; t) type=$OPTARG ;; b) share=${OPTARG%\%} ;; p) pp=$OPTARG ;;
    g) tg=$OPTARG ;; r) reps=$OPTARG ;; d) dir=$OPTARG ;;
    *) exit 2 ;;
  esac
done
case $shape in
  opt-125m) sizes=(768 12 12 3072) ;;
  opt-1.3b) sizes=(2048 24 32 8192) ;;
  opt-6.7b) sizes=(4096 32 32 16384) ;;
  *)
    echo "llamacpp-bench: -s: got $shape, want opt-125m, opt-1.3b or opt-6.7b" >&2
    exit 2
    ;;
esac
group= keep=$dir
cleanup() {
  if [ -n "$group" ]; then rmdir "$group" 2>/dev/null || true; fi
  if [ -z "$keep" ]; then rm -rf "$dir"; fi
}
trap cleanup EXIT
dir=${dir:-$(mktemp -d)}
mkdir -p "$dir"

cp scripts/llamacpp-bench/package.json scripts/llamacpp-bench/bench.mjs "$dir"
if [ ! -d "$dir/node_modules/node-llama-cpp" ]; then
  (cd "$dir" && npm install --ignore-scripts --no-audit --no-fund >&2) # its binaries are packages of their own
fi
file=$dir/$shape-$type.gguf
if [ ! -f "$file" ]; then
  node scripts/llamacpp-bench/mkgguf.mjs "$type" "${sizes[@]}" "$file.part"
  mv "$file.part" "$file"
fi

echo "resident:" >&2
node "$dir/bench.mjs" "$file" --pp "$pp" --tg "$tg" --reps "$reps"
if [ "$share" = 0 ]; then exit; fi

limit=$(($(stat -c %s "$file") / 100 * share))
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then # version 2
  group=/sys/fs/cgroup/llamacpp-bench-$$
  mkdir "$group"
  echo "$limit" >"$group/memory.max"
  if [ -f "$group/memory.swap.max" ]; then echo 0 >"$group/memory.swap.max"; fi
elif [ -d /sys/fs/cgroup/memory ]; then # version 1
  group=/sys/fs/cgroup/memory/llamacpp-bench-$$
  mkdir "$group"
  echo "$limit" >"$group/memory.limit_in_bytes"
else
  echo "llamacpp-bench: got no memory cgroup, want one at /sys/fs/cgroup" >&2
  exit 1
fi
dd if="$file" iflag=nocache count=0 status=none # pages cached already would not count
echo "limited to $limit bytes:" >&2
# The shell enters the group before it becomes the program.
if ! bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' _ "$group" \
  node "$dir/bench.mjs" "$file" --pp 0 --tg 8 --reps "$reps"; then
  echo "llamacpp-bench: got no result under the limit; where peak_rss_bytes above is twice the file, its weights were repacked into memory that cannot be dropped" >&2
  exit 1
fi
