#!/bin/sh
# Builds into the folder $1 what leads the network of a VM to kiln: the relay, from the sources in the folder $2, and the CNI
# plugins that give each step a network of its own. Static programs: they run whatever the VM's base is, and are the same
# for every entry of the archive, whose own toolchain may be too old for them.
#
# Needs: any go from 1.19 on.
set -eu
GO_TOOLCHAIN=go1.22.12
GO_TOOLCHAIN_HASH_AMD64='h1:Hdh4VJAlDWzMnhKpqDwqJJr+sE7NgsJ86dyR4wrv2oY='
cni_version=v1.5.1
cni_module_hash='h1:T5ji+LPYjjgW0QM+KyrigZbLsZ8jaX+E5J/EcKOE4gQ='
out=$1
relay=$(realpath "$2")
. "$(dirname "$0")/go-modules.sh"
export CGO_ENABLED=0

mkdir -p "$out"
echo 'building the relay'
(cd "$relay" && go vet . && go build -trimpath -ldflags '-s -w' -buildvcs=false -o "$out/relay" .)

echo "building the CNI plugins $cni_version"
source_of "github.com/containernetworking/plugins@$cni_version" "$cni_module_hash" cni
for plugin in main/bridge main/loopback ipam/host-local; do
  (cd "$work/cni" && go build -trimpath -ldflags '-s -w' -o "$out/${plugin#*/}" "./plugins/$plugin")
done
