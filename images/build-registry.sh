#!/bin/sh
# Builds into the folder $1 the program that speaks to container registries, from its sources in the folder $2. Its modules are pinned
# by its go.sum.
#
# Needs: any go from 1.19 on.
set -eu
GO_TOOLCHAIN=go1.26.8
GO_TOOLCHAIN_HASH_AMD64='h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM='
out=$1
program=$(realpath "$2")
. "$(dirname "$0")/go-modules.sh"

mkdir -p "$out"
echo 'building the program that speaks to registries'
(cd "$program" && CGO_ENABLED=0 go build -mod=readonly -v -trimpath -ldflags '-s -w' -buildvcs=false -o "$out/registry" .)
