#!/usr/bin/env bash
# SparseFlow and llama.cpp on one GGUF file of a mixture of experts, by budget: each
# in turns inside a memory cgroup of that share of the file's size (100: without one).
# Prints a table and writes every run's row as CSV.
#
#   scripts/moe-compare.sh [-b SHARES] [-e ENGINES] [-p TOKENS] [-P SHARES] [-g TOKENS] [-w TOKENS]
#       [-t THREADS] [-r ROUNDS] [-m MINUTES] [-v VARIANTS] [-s SECONDS] [-d DIR] [-a] [-o FILE.csv] FILE.gguf IDS
#   scripts/moe-compare.sh -D FILE.csv     # rows measured before into docs: table and picture
#
# IDS is a file of token ids with spaces or line ends between, of real text: 1,000 for
# the settings below. Ids beyond the vocabulary are folded into it.
#
# A run starts with a cold page cache: the time to the first token of a prompt of 8
# counts from the start of the process. Then -w ids (32) are decoded, and -g more (32)
# are timed; both engines get the same ids. At budgets of -P (100,58,30) a prompt of -p
# ids (512, 0: none) follows in the first round. SparseFlow checks its output before,
# and which tokens it finds likeliest is compared with llama.cpp once.
#
# llama.cpp runs at its best: without repacked weights, which are killed at 75 % and
# below, and at 100 % by each of -v (norepack,repack,nommap), of which the best counts;
# with a read-ahead of 128 KiB of the disk, which is set and put back. Of -r rounds (1)
# its best counts and SparseFlow's median; rounds after the first leave out what does
# not fit into -m minutes (35) any more. -s (60) is the seconds after which llama.cpp's
# decoding is cut short. -b (100,75,58,40,30,20,10), -e (ours,llama) choose rows.
#
# For 18.5 GB on two cores and a disk of 1 to 2 GB/s the first round is estimated at 23
# minutes (7 of them llama.cpp's three variants and SparseFlow at 100 %, 3 each prompt
# below), and a further one, without prompts and with the best variant alone, at 13. With
# -a rows are added to those in FILE.csv. The row of 100 % needs as much free memory as
# the file has bytes and 1 GB more, and a machine at rest: what it shares with others
# slows engines whose threads wait for each other several times over.
#
# Needs root, Linux, Go, a C compiler, Node.js 20 or later and npm. DIR keeps the
# package (by default one that is removed).
set -euo pipefail
BUDGETS=100,75,58,40,30,20,10 ENGINES=ours,llama PP=512 PROMPT_ROWS=100,58,30 TG=32 WARM=32 THREADS=2 ROUNDS=1 MINUTES=35
VARIANTS=norepack,repack,nommap LLAMA_SECONDS=60 CTX=1024 TIMEOUT=600 READ_AHEAD=128 CSV=moe-compare.csv
dir= docs= APPEND= GROUP=moe-compare-$$
fail() { echo "moe-compare: $1" >&2; exit 2; }
while getopts b:e:p:P:g:w:t:r:m:v:s:d:o:D:a flag; do
  case $flag in
    b) BUDGETS=$OPTARG ;; e) ENGINES=$OPTARG ;; p) PP=$OPTARG ;; P) PROMPT_ROWS=$OPTARG ;; g) TG=$OPTARG ;; w) WARM=$OPTARG ;;
    t) THREADS=$OPTARG ;; r) ROUNDS=$OPTARG ;; m) MINUTES=$OPTARG ;; v) VARIANTS=$OPTARG ;; s) LLAMA_SECONDS=$OPTARG ;;
    d) dir=$OPTARG ;; a) APPEND=1 ;; o) CSV=$OPTARG ;; D) docs=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
scripts=$(cd "$(dirname "$0")" && pwd)
if [ -n "$docs" ]; then
  exec node "$scripts/llamacpp-bench/moe-docs.mjs" "$docs"
fi
[ $# = 2 ] || fail "got $# arguments, want a .gguf file and a file of ids"
[ "$(id -u)" = 0 ] || fail "got a user who is not root, want root: memory cgroups, the page cache and read-ahead are set"
FILE=$(realpath "$1") IDS=$(realpath "$2") CSV=$(realpath "$CSV")
need=$((128 + WARM + (TG > PP ? TG : PP) + 2))
[ "$(wc -w <"$IDS")" -ge $need ] || fail "$IDS: got $(wc -w <"$IDS") ids, want at least $need"
if [ -z "$dir" ]; then
  dir=$(mktemp -d)
  kept=
else
  mkdir -p "$dir"
  kept=1
fi
dir=$(cd "$dir" && pwd)

# The queue of the disk that the file is on, a partition's is its disk's.
queue=/sys/dev/block/$(stat -c '%Hd:%Ld' "$FILE")
[ -d "$queue/queue" ] || queue=$(realpath "$queue/..")
queue=$queue/queue/read_ahead_kb
before=
cleanup() {
  rmdir /sys/fs/cgroup/{,memory/}"$GROUP"-* 2>/dev/null || true
  if [ -n "$before" ]; then echo "$before" >"$queue"; fi
  if [ -z "$kept" ]; then rm -rf "$dir"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM
(cd "$scripts/.." && CGO_ENABLED=0 go build -o "$dir/sparseflow" ./cmd/sparseflow)
SPARSEFLOW=$dir/sparseflow
cp "$scripts"/llamacpp-bench/{package.json,*.mjs,*.sh,norepack.c} "$dir"
LLAMA_VERSION=none NOREPACK= GGML=
if [[ $ENGINES == *llama* ]]; then
  if [ ! -d "$dir/node_modules/node-llama-cpp" ]; then
    (cd "$dir" && npm install --ignore-scripts --no-audit --no-fund >&2) # its binaries are packages of their own
  fi
  GGML=$(find -L "$dir/node_modules/@node-llama-cpp" -name libggml-base.so -path "*/linux-$(node -p process.arch)/*" | head -1)
  [ -n "$GGML" ] || fail "$dir/node_modules: got no libggml-base.so for linux-$(node -p process.arch), want node-llama-cpp's binaries"
  cc -shared -fPIC -o "$dir/norepack.so" "$dir/norepack.c" -ldl
  NOREPACK=$dir/norepack.so LLAMA_VERSION=$(node -p "require('$dir/node_modules/node-llama-cpp/package.json').version")
fi
MACHINE=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)
if [ -w "$queue" ]; then
  before=$(cat "$queue")
  echo $READ_AHEAD >"$queue"
else
  echo "moe-compare: $queue: cannot be written to; the disk's read-ahead stays as it is" >&2
fi
export BUDGETS ENGINES PP PROMPT_ROWS TG WARM THREADS ROUNDS MINUTES VARIANTS LLAMA_SECONDS CTX TIMEOUT READ_AHEAD APPEND GROUP CSV FILE IDS \
  SPARSEFLOW LLAMA_VERSION NOREPACK GGML MACHINE
node "$dir/moe.mjs"
