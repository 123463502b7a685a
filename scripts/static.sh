#!/usr/bin/env bash
# Shows that the program needs nothing of the system it runs on: alone in an
# empty root it gives the text that it gives here, and within a limit of address
# space, which the shared machines of many institutes set. Needs root, or user
# namespaces, for the empty root.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/root"
go build -o "$dir/root/sparseflow" ./cmd/sparseflow
run=(run tiny "Once upon a time" --mode gate --max-tokens 16)

XDG_CACHE_HOME="$dir/cache" "$dir/root/sparseflow" "${run[@]}" >"$dir/want"
enter=(chroot)
if [ "$(id -u)" != 0 ]; then enter=(unshare --user --map-root-user chroot); fi
env -i PATH="$PATH" "${enter[@]}" "$dir/root" /sparseflow "${run[@]}" >"$dir/empty"
cmp "$dir/empty" "$dir/want"
(
  ulimit -v 1000000
  XDG_CACHE_HOME="$dir/limited" "$dir/root/sparseflow" "${run[@]}" >"$dir/limited.txt"
)
cmp "$dir/limited.txt" "$dir/want"
echo "static: passed"
