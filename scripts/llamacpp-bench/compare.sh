#!/usr/bin/env bash
# SparseFlow and llama.cpp in turns on the same GGUF files, all resident; prints a
# table of tokens/s and ratios. See compare.mjs.
#
#   scripts/llamacpp-bench/compare.sh [-r ROUNDS] [-p TOKENS] [-g TOKENS] [-t THREADS] [-d DIR] MODEL ...
#
# MODEL is a .gguf file, or a shape of synth and a type, such as
# llama-3.1-8b:q4_k_m, which is drawn into DIR. DIR keeps the package and the
# files (by default one that is removed). Needs Go, Node.js 20 or later and npm.
set -euo pipefail
rounds=3 pp=512 tg=128 threads=2 dir=
while getopts r:p:g:t:d: flag; do
  case $flag in
    r) rounds=$OPTARG ;; p) pp=$OPTARG ;; g) tg=$OPTARG ;; t) threads=$OPTARG ;; d) dir=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ $# = 0 ]; then
  echo "compare: got no model, want .gguf files or SHAPE:TYPE" >&2
  exit 2
fi
scripts=$(cd "$(dirname "$0")" && pwd)
if [ -z "$dir" ]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
(cd "$scripts/../.." && CGO_ENABLED=0 go build -o "$dir/sparseflow" ./cmd/sparseflow)
cp "$scripts"/package.json "$scripts"/*.mjs "$dir"
if [ ! -d "$dir/node_modules/node-llama-cpp" ]; then
  (cd "$dir" && npm install --ignore-scripts --no-audit --no-fund >&2) # its binaries are packages of their own
fi
files=()
for model in "$@"; do
  case $model in
    *.gguf) files+=("$(realpath "$model")") ;;
    *:*)
      file=$dir/${model%:*}-${model#*:}.gguf
      if [ ! -f "$file" ]; then
        "$dir/sparseflow" synth --shape "${model%:*}" --quant "${model#*:}" -o "$file" >&2
      fi
      files+=("$file")
      ;;
    *)
      echo "compare: got $model, want a .gguf file or SHAPE:TYPE" >&2
      exit 2
      ;;
  esac
done
node "$dir/compare.mjs" --sparseflow "$dir/sparseflow" --rounds "$rounds" --pp "$pp" --tg "$tg" --threads "$threads" "${files[@]}"
