#!/bin/sh
# Builds buildkitd, buildctl and runc from their Go modules at the pinned versions into the folder $1, with the Go toolchain
# that the release used. The same script runs in the Dockerfile's `bins` stage and on a host without a container registry.
#
# Needs: what go-modules.sh needs, a C compiler, pkg-config, static libseccomp, and the variables of an entry's .env.
set -eu
out=$1
. "$(dirname "$0")/go-modules.sh"

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
