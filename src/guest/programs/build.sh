#!/bin/bash
# Runs one buildctl in the guest. Values of users arrive as bytes on standard input and are never parsed by a shell.
# It is started when a VM becomes warm and waits for its input, ready; from there on each process that need not be started
# saves the build 0.1 s under emulation.
#
# Standard input:  four lines: serial number of the context's disk or "-", serial number of the artifact's disk or "-",
#                  size of the Dockerfile in bytes or "-", number of secret files; then the Dockerfile; then of each secret file a line
#                  "NAME BYTES" and its bytes; then buildctl's arguments, each ended by NUL.
# Standard error:  buildctl's progress, byte for byte, and nothing else.
# Standard output: buildctl's trace, one JSON object a line, between lines of this program's own: {"kiln":"ready"} once the
#                  context is there, and last {"kiln":{…}}, what the host decides by. Where buildctl could not be started, the
#                  only line is {"kiln":{"problem":"…"}}.
# Folders and pipes are the template's (prepare.sh).
set -u
cd /var/lib/kiln/build || exit 125
# Nobody ever writes into `never`: what reads it waits.
exec {never}<>never || exit 125
: >progress
: >trace

# buildctl writes into files, which are sent on as they grow: a transport slower than the build must not hold buildctl up,
# which v0.20.2 takes for a failure three seconds after the build's end (moby/buildkit #6940).
exec {sending}> >(exec /usr/local/lib/kiln/send progress trace /run/kiln-least-free)
sender=$!
# What other programs say of themselves is not buildctl's progress.
exec 2>notes
finish_sending() {
  exec {sending}>&-
  wait "$sender"
}

# Sets `kills` to how many processes the kernel has killed since it booted, as there was no memory left.
count_kills() {
  local name value
  kills=0
  while read -r name value; do
    if [ "$name" = oom_kill ]; then kills=$value; fi
  done </proc/vmstat
}
count_kills
earlier_kills=$kills

read -r context
read -r artifact
read -r dockerfile_bytes
read -r secret_files

fail() {
  local notes
  notes=$(<notes)
  finish_sending
  # Only what a JSON string holds as it is.
  printf '{"kiln":{"problem":"%s %.100s"}}\n' "$1" "${notes//[^a-zA-Z0-9 .:\/_()-]/ }"
  exit 125
}

# Sets `device` to the plugged disk with this serial number, once the kernel has it: the disk may come after this program's
# input.
find_disk() {
  local attempt path serial
  for ((attempt = 0; attempt < 1000; attempt++)); do
    for path in /sys/block/vd*/serial; do
      serial=
      read -r serial <"$path"
      if [ "$serial" = "$1" ]; then
        path=${path%/serial}
        device=/dev/${path##*/}
        # The kernel shows a disk a moment before it can be opened.
        if : <"$device"; then return; fi
      fi
    done
    read -rt 0.02 -u "$never"
  done
  return 1
}

if [ "$dockerfile_bytes" != - ]; then
  head -c "$dockerfile_bytes" >dockerfile/Dockerfile || fail 'the Dockerfile did not arrive'
fi
# In memory: no disk of the VM holds them. Their names are kiln's, and one of them may be config.json.
secrets=/run/kiln-secrets
if [ "$secret_files" != 0 ]; then
  mkdir --mode=700 "$secrets" || fail 'the secrets found no place'
  for ((file = 0; file < secret_files; file++)); do
    read -r name bytes
    head -c "$bytes" >"$secrets/$name" || fail 'a secret did not arrive'
  done
  export DOCKER_CONFIG=$secrets
fi
mapfile -d '' -t arguments

if [ "$context" != - ]; then
  find_disk "$context" || fail 'the disk with the context did not appear'
  mount --types erofs --options ro,nodev,nosuid "$device" context || fail 'the context could not be mounted'
fi
if [ "$artifact" != - ]; then
  find_disk "$artifact" || fail 'the disk for the artifact did not appear'
  artifact=$device
fi
echo '{"kiln":"ready"}'

output=/dev/null
writer=
if [ "$artifact" != - ]; then
  output=output.pipe
  LC_ALL=C dd if="$output" of="$artifact" bs=1M iflag=fullblock conv=fsync,notrunc 2>dd.log &
  writer=$!
fi
buildctl "${arguments[@]}" >"$output" 2>>progress
statuses=($? 0)
[ "$secret_files" = 0 ] || rm -rf "$secrets"
if [ -n "$writer" ]; then
  wait "$writer"
  statuses[1]=$?
fi
finish_sending

artifact_bytes=0
if [[ $artifact != - && $(<dd.log) =~ ([0-9]+)\ bytes ]]; then artifact_bytes=${BASH_REMATCH[1]}; fi
metadata=null
[ -s metadata.json ] && IFS= read -rd '' metadata <metadata.json
count_kills
least_free=null
[ -s /run/kiln-least-free ] && read -r least_free </run/kiln-least-free
# BuildKit's id of this build, by which the host finds its history.
ref=
[ -s /run/kiln-ref ] && IFS= read -r ref </run/kiln-ref
printf '\n{"kiln":{"exitCode":%d,"artifactExitCode":%d,"artifactBytes":%d,"oomKills":%d,"leastFreeBytes":%s,"ref":"%s","metadata":%s}}\n' \
  "${statuses[0]}" "${statuses[1]}" "$artifact_bytes" "$((kills - earlier_kills))" "$least_free" "${ref//[^a-z0-9]/}" \
  "${metadata//$'\n'/}"
