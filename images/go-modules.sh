# For scripts that build programs from their Go modules; read by `.`, with `set -eu`.
#
# Makes the folder $work, which goes when the script ends, and puts the toolchain $GO_TOOLCHAIN first in the PATH.
# Needs: any go from 1.19 on; GO_TOOLCHAIN and GO_TOOLCHAIN_HASH_AMD64 of an entry's .env; GOMODCACHE and GOCACHE where the
# caches shall lie elsewhere. Every module is checked against its pinned hash before it is used.
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

# Copies module $1 with the hash $2 to $work/$3, where it can be written: `go install module@version` refuses modules with
# exclude directives.
source_of() {
  directory=$(module "$1" "$2")
  cp -r "$directory" "$work/$3"
  chmod -R u+w "$work/$3"
}

source_of "golang.org/toolchain@v0.0.1-$GO_TOOLCHAIN.linux-amd64" "$GO_TOOLCHAIN_HASH_AMD64" go
# Modules carry no execute bits.
chmod +x "$work/go/bin/"* "$work/go/pkg/tool/linux_amd64/"*
export PATH="$work/go/bin:$PATH" GOTOOLCHAIN=local GOFLAGS=-mod=mod GOROOT="$work/go"
