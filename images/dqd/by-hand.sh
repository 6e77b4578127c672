#!/bin/sh
# by-hand.sh FOLDER PROGRAM ARGUMENTS…: ssh or scp to the VM of the compose files in a folder, which they call `vm`. The host key
# is the one that the VM said on its console, so nobody on this machine can be in between.
set -eu
folder=$1
program=$2
shift 2
# The compose file wants a key, which only `up` needs.
compose() { SSH_KEY=${SSH_KEY:-unused} docker compose --project-directory "$folder" "$@"; }
known=$(mktemp)
trap 'rm -f "$known"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# It may still boot: minutes where it is emulated.
tries=0
until key=$(compose logs --no-log-prefix --no-color vm | tr -d '\r' | sed -n 's/^kiln-host-key \(ssh-ed25519 [A-Za-z0-9+\/=]*\)$/\1/p' | tail -n 1) && [ -n "$key" ]; do
  [ -n "$(compose ps --status running --quiet vm)" ] || { echo 'The VM does not run: docker compose up -d' >&2; exit 1; }
  tries=$((tries + 1))
  [ "$tries" -le 300 ] || { echo 'The VM does not boot: docker compose logs vm' >&2; exit 1; }
  sleep 1
done
echo "vm $key" >"$known"
address=$(compose port vm 22)
"$program" -o HostName=127.0.0.1 -o Port="${address##*:}" -o User=root -o HostKeyAlias=vm -o UserKnownHostsFile="$known" \
  -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o ConnectTimeout=60 "$@"
