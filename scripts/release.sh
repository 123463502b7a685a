#!/usr/bin/env bash
# Makes what a release hands out, in dist/: an archive for each system with the
# program, README and licences, and SHA256SUMS. The same commit and version of Go
# give the same bytes. Usage: scripts/release.sh VERSION [SYSTEM/PROCESSOR...]
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: scripts/release.sh VERSION [SYSTEM/PROCESSOR...], such as v0.3.0 linux/amd64}
shift
targets=("$@")
if [ $# = 0 ]; then targets=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64); fi
export CGO_ENABLED=0
when=$(git log -1 --format=%ct)
out=$PWD/dist
rm -rf "$out"
mkdir "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
licences() { # of the modules that the program is linked with, and of Go itself
  printf '== Go\n\n' && cat "$(go env GOROOT)/LICENSE"
  go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/sparseflow | sort -u |
    while read -r path dir; do printf '\n== %s\n\n' "$path" && cat "$dir"/*LICENSE*; done
}
for target in "${targets[@]}"; do
  os=${target%/*} arch=${target#*/}
  name=sparseflow-$version-$os-$arch
  mkdir "$work/$name"
  exe=sparseflow
  if [ "$os" = windows ]; then exe=sparseflow.exe; fi
  GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X main.release=$version" -o "$work/$name/$exe" ./cmd/sparseflow
  cp README.md LICENSE THIRD_PARTY.md "$work/$name/"
  GOOS=$os GOARCH=$arch licences >"$work/$name/LICENSES.txt"
  find "$work/$name" -exec touch -d "@$when" {} +
  if [ "$os" = windows ]; then
    (cd "$work" && TZ=UTC zip -qrX "$out/$name.zip" "$name")
  else
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$when" -c "$name" | gzip -n9 >"$out/$name.tar.gz"
  fi
  echo "$name"
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
