#!/bin/sh
# Puts Node and the libraries that kiln runs with into the folder $1, without what only people and other machines read. It runs
# in the Dockerfile, and on a machine without a container registry. In the folder of package.json and package-lock.json.
set -eu
out=$1
mkdir -p "$out/bin"
cp package.json package-lock.json .npmrc "$out/"
(cd "$out" && npm install --omit=dev --omit=optional --no-save --no-progress --loglevel=error)
rm "$out/package.json" "$out/package-lock.json" "$out/.npmrc" "$out/node_modules/.package-lock.json"

cp "$(node -p process.execPath)" "$out/bin/node"
! command -v strip >/dev/null || strip "$out/bin/node"

modules=$out/node_modules
rm -rf "$modules/.bin" "$modules/better-sqlite3/deps" "$modules/better-sqlite3/src" "$modules/@types"
find "$modules" \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.[cm]ts' -o -name '*.md' \) -delete
# Programs for other systems than Debian on this processor.
processor=$(node -p process.arch)
find "$modules" -path '*/prebuilds/*' ! -name "linux-$processor*" ! -path "*/linux-$processor/*" -delete
