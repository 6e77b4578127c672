#!/bin/sh
# Runs one of kiln's TypeScript programs on Node 24, after installing what package-lock.json names.
# Needs nothing but npm: where the machine's own Node is older, the one in node_modules is used.
set -eu
cd "$(dirname "$0")/.."

if ! command -v npm >/dev/null 2>&1; then
  echo 'kiln: npm is missing. On Debian or Ubuntu: sudo apt-get install -y npm' >&2
  exit 1
fi

# npm keeps its own copy of the lock file; an install that is older than ours, or was cut short, has none.
if ! cmp -s package-lock.json node_modules/.kiln-lock.json; then
  echo 'kiln: installing npm packages …' >&2
  # Not `npm ci`: it refuses a lock that lacks optional packages of platforms which the registry at hand does not serve.
  npm install --no-save --no-progress --loglevel=error >&2
  cp package-lock.json node_modules/.kiln-lock.json
fi

# By its own name: npm 9 makes no link in node_modules/.bin where two packages, one for each processor, want the same.
node=$(ls -d node_modules/node-linux-*/bin/node 2>/dev/null) || node=$(command -v node)
case "$("$node" --version)" in
  v2[4-9].* | v[3-9][0-9].*) ;;
  *) echo "kiln: Node 24 or newer is needed, found $("$node" --version). Get it from https://nodejs.org" >&2; exit 1 ;;
esac

# The gRPC code is generated from proto/, never committed.
if [ ! -e src/grpc/generated ] || [ -n "$(find proto buf.yaml buf.gen.yaml scripts/generate.ts package-lock.json -newer src/grpc/generated 2>/dev/null)" ]; then
  "$node" scripts/generate.ts
fi

# Uploads are many short-lived buffers, which V8 counts into its heap. A small young generation is emptied often, so that memory stays
# flat; a wide margin of the old one keeps V8 from searching all of it once for each few MiB that arrive.
exec "$node" --max-semi-space-size=1 --heap-growing-percent=200 "$@"
