#!/bin/bash
# Proves: numbered lines published with --wait=durable, all of busd and the publisher killed by -9 in the midst of it,
# started and published again: what bus-replay prints has the input's checksum. Then one byte of a segment is
# changed: bus-fsck names the message, and bus-replay gives all others and says which one is missing.
# By hand with as many lines as one likes: tests/integration/replay_killed.sh 10000000
# timeout: 240
count=${1:-300000}
if [ -z "${BUS_BUILD:-}" ]; then # by hand
  cd "$(dirname "$0")/../.." || exit 1
  BUS_BUILD=$PWD/build
  TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/replay_killed.XXXXXX") || exit 1
  export BUS_BUILD TMPDIR
  trap 'rm -rf "$TMPDIR"' EXIT
fi
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

seq 1 "$count" >lines
start_busd
bus-topic create t --stream || exit 1
# two thirds are fed, and the kill comes when one is on disk: in the midst, however fast or slow the machine is
third=$((count / 3))
publish() { exec bus-pub t --stdin=lines --wait=durable --name=me --resume 2>>pub.log; }
first_third() { [ "$(info t durable_seq)" -ge $third ]; }
mkfifo feed
(publish <feed) &
pub=$!
exec 5>feed
head -n $((2 * third)) lines >&5 2>/dev/null &
feeder=$!
wait_for "a third on disk" first_third
kill -STOP $pub
kill_all
kill -KILL $pub $feeder 2>/dev/null
exec 5>&-
wait $pub $feeder 2>/dev/null

start_busd
# at once, before the hole is declared: what was never written is not missing
bus-replay t >first 2>said || note_failure "after the kill, exit code $?: $(cat said)"
kept=$(wc -l <first)
if [ "$kept" -lt $third ] || [ "$kept" -ge "$count" ]; then
  note_failure "$kept lines were kept: not killed in the midst"
fi
cmp -s first <(head -n "$kept" lines) || note_failure "what was kept is not the input's beginning"
(publish <lines) || note_failure "the second run failed: $(cat pub.log)"
grep -q 'has the first' pub.log || note_failure "the publisher was not told where it stood: $(cat pub.log)"
bus-replay t --raw --stats 2>said | sha256sum >got
same "exit code" 0 "${PIPESTATUS[0]}"
same "checksum" "$(sha256sum <lines)" "$(cat got)"
same "from the directory, too" "$(sha256sum <lines)" "$(bus-replay --dir="$TMPDIR/data/streams/t" --raw | sha256sum)"
echo "$count lines, $kept of them before the kill: $(cat got)"
grep 'messages (' said

# one byte
damaged=$((third / 2 < 50000 ? third / 2 : 50000)) # in the first file
log=$TMPDIR/data/streams/t
file=$log/$(printf '%020d.log' 0)
# its payload follows the slots: found by its bytes, with zeros around it
at=$(LC_ALL=C grep -obUaP -m 1 "\\x00$damaged\\x00" "$file" | head -n 1 | cut -d: -f1)
[ -n "$at" ] || { echo "FAILED: line $damaged is not in $file"; exit 1; }
printf 'x' | dd of="$file" bs=1 seek=$((at + 1)) conv=notrunc status=none
seq=$((damaged - 1))
expect 1 "message $seq: its payload fails the checksum" bus-fsck "$log"
bus-replay t --raw 2>said >got && note_failure "a damaged message, and exit code 0"
cmp -s got <(sed "${damaged}d" lines) || note_failure "a damaged message: not all others"
grep -q "message $seq of \"t\" is missing: its payload fails the checksum" said || note_failure "said $(cat said)"
finish
