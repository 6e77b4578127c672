#!/bin/sh
# Builds buildkitd, buildctl and runc from their Go modules at the pinned versions into the folder $1, with the Go toolchain
# that the release used. The same script runs in the Dockerfile's `bins` stage and on a host without a container registry.
#
# Needs: any go from 1.19 on, a C compiler, pkg-config, static libseccomp; the variables of an entry's .env; GOMODCACHE and
# GOCACHE where the caches shall lie elsewhere. Every module is checked against its pinned hash before it is used.
set -eu
out=$1
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT INT TERM

# Prints the folder of module $1 after checking that its hash is $2.
module() {
  json=$(cd "$work" && go mod download -json "$1")
  sum=$(printf '%s\n' "$json" | sed -n 's/.*"Sum": "\(.*\)".*/\1/p')
  if [ "$sum" != "$2" ]; then
    echo "module $1 has the hash $sum, pinned is $2" >&2
    exit 1
  fi
  printf '%s\n' "$json" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'
}

toolchain=$(module "golang.org/toolchain@v0.0.1-$GO_TOOLCHAIN.linux-amd64" "$GO_TOOLCHAIN_HASH_AMD64")
# Modules carry no execute bits, and the cache is read-only.
mkdir -p "$work/go"
cp -r "$toolchain/." "$work/go"
chmod -R u+w "$work/go"
chmod +x "$work/go/bin/"* "$work/go/pkg/tool/linux_amd64/"*
export PATH="$work/go/bin:$PATH" GOTOOLCHAIN=local GOFLAGS=-mod=mod GOROOT="$work/go"

# A writable copy: `go install module@version` refuses modules with exclude directives.
source_of() {
  directory=$(module "$1" "$2")
  cp -r "$directory" "$work/$3"
  chmod -R u+w "$work/$3"
}

mkdir -p "$out"
echo "building buildkitd and buildctl $BUILDKIT_VERSION"
source_of "github.com/moby/buildkit@$BUILDKIT_VERSION" "$BUILDKIT_MODULE_HASH" buildkit
package=github.com/moby/buildkit/version
for command in buildkitd buildctl; do
  (cd "$work/buildkit" && CGO_ENABLED=0 go build -v -trimpath -tags 'osusergo netgo static_build seccomp' \
    -ldflags "-s -w -X $package.Version=$BUILDKIT_VERSION -X $package.Revision=$BUILDKIT_REVISION" \
    -o "$out/$command" "./cmd/$command")
done

echo "building runc $RUNC_VERSION"
source_of "github.com/opencontainers/runc@v$RUNC_VERSION" "$RUNC_MODULE_HASH" runc
(cd "$work/runc" && CGO_ENABLED=1 go build -v -trimpath -tags 'seccomp netgo osusergo' \
  -ldflags "-s -w -extldflags -static -X main.version=$RUNC_VERSION -X main.gitCommit=$RUNC_COMMIT" -o "$out/runc" .)

"$out/buildkitd" --version
"$out/runc" --version
