#!/bin/sh
# Builds compose and buildx, plugins of the docker client, from their Go modules into the folder $1; compose is mostly made of
# what buildx is made of. Needs what images/go-modules.sh needs.
set -eu
out=$1
GO_TOOLCHAIN=go1.22.12
GO_TOOLCHAIN_HASH_AMD64='h1:Hdh4VJAlDWzMnhKpqDwqJJr+sE7NgsJ86dyR4wrv2oY='
. "$(dirname "$0")/../../images/go-modules.sh"

mkdir -p "$out"
# plugin NAME MODULE@VERSION HASH PACKAGE VARIABLE: VARIABLE is what holds its version.
plugin() {
  source_of "$2" "$3" "$1"
  (cd "$work/$1" && CGO_ENABLED=0 go build -v -trimpath -ldflags "-s -w -X $5=${2#*@}" -o "$out/docker-$1" "$4")
}
plugin buildx github.com/docker/buildx@v0.21.3 'h1:LEmhk3D9WOboMeC+hlfOUnB1jylXcDfGHjqAL7Tvwks=' \
  ./cmd/buildx github.com/docker/buildx/version.Version
plugin compose github.com/docker/compose/v2@v2.33.1 'h1:i/V1gUpdbc4tMRfx30aYzw7oHKM8NGB2Oe4AUJUospw=' \
  ./cmd github.com/docker/compose/v2/internal.Version
