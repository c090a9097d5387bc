#!/bin/bash
# Proves: deaths of the worker and starts of busd cost a stream no message that its limits keep, and no room; a stream
# that is removed stays removed, whatever dies, and its files go; one whose directory is locked, or whose names cannot be
# read, is there again by itself once it can be had; a publisher's name has its place after a start, whoever came first; times
# do not go back with the clock; a limit of bytes that is less than two segments is refused.
# timeout: 300
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

stop_busd() {
  kill "$busd"
  wait "$busd"
}
send() { bus-pub "$1" --stdin=lines --wait=durable --name=me --resume; }

# ---- deaths and starts, within limits
start_busd
bus-topic create bytes --stream --max-bytes=32M || exit 1
bus-topic create count --stream --max-messages=50000 || exit 1
seq 1 20000 >lines
send count <lines 2>pub.log || note_failure "count: $(cat pub.log)"
for i in {1..10}; do
  seq 1 "$i" | send bytes 2>pub.log || note_failure "$i: $(cat pub.log)"
  kill_worker
done
log_of bytes | cmp - <(seq 1 10) || note_failure "after ten deaths of the worker the log has $(log_of bytes | wc -l) messages; $(cat gaps.txt)"
for how in stop_busd kill_all stop_busd; do
  $how
  start_busd
done
wait_for "the streams to be written" info_is count state running
sleep 1.2 # limits are looked at each second
log_of bytes | cmp - <(seq 1 10) || note_failure "after three starts the log has $(log_of bytes | wc -l) messages; $(cat gaps.txt)"
log_of count | cmp - lines || note_failure "after three starts there are $(log_of count | wc -l) of 20000; $(cat gaps.txt)"
expect 0 'sound' bus-fsck data/streams/bytes
# what is written and what is made ahead, 5 MiB each, and a few pages for each of the others: not 70 MiB
used=$(du -sk data/streams/bytes | cut -f1)
[ "$used" -lt 25000 ] || note_failure "14 segments of 10 short messages take $used KiB"

# ---- too little for two segments
expect 2 'by segments.*max-bytes=.*stream-bytes' bus-topic create less --stream --max-bytes=4M
expect 0 '' bus-topic create less --stream --max-bytes=8M --stream-bytes=1M

# ---- removed
gone() { [ -z "$(find data/streams -maxdepth 1 -name '*removed*')" ]; }
bus-topic rm less || note_failure "less is not removed"
[ ! -e data/streams/less ] || note_failure "rm is answered, and its directory is in place"
wait_for "its files to be deleted" gone
for i in 1 2 3; do
  bus-topic create back --stream || exit 1
  seq 1 100 | send back
  bus-topic rm back || note_failure "back is not removed"
  kill_all
  [ ! -e data/streams/back ] || note_failure "round $i: busd was killed, and a removed stream is back"
  start_busd
  wait_for "what was left of it to be deleted" gone
done
# what a former version left is for people
mkdir data/streams/old@removed-1
mkdir -p data/streams/.removed.x-1/kept
echo x >data/streams/.removed.x-1/00000000000000000000.log
stop_busd
start_busd
wait_for "a word on what cannot be deleted" grep -q 'removed.x-1 cannot be deleted' busd.log
[ ! -e data/streams/.removed.x-1/00000000000000000000.log ] || note_failure "a file of a removed stream stays"
[ -d data/streams/old@removed-1 ] || note_failure "what is for people is deleted"
rm -r data/streams/.removed.x-1 data/streams/old@removed-1

# ---- locked for a while, as by one that was killed and is not over with it
stop_busd
flock data/streams/count sleep 2 &
locked=$!
sleep 0.2
start_busd
expect 1 'cannot be taken up: somebody else' bus-pub count x
wait $locked
again() { echo 20001 | bus-pub count --stdin=lines --wait=durable 2>/dev/null; }
wait_for "the stream to be taken up" again

# ---- names that cannot be read: a pipe in their place
stop_busd
mv data/streams/count/sources sources
mkfifo data/streams/count/sources
start_busd
wait_for "it to say so" grep -q 'names of publishers .file sources. cannot be read' busd.log
seq 11 20 | send bytes 2>/dev/null || note_failure "one stream's names hold another one up"
info_is count state stopped || note_failure "count is $(info count state)"
mv sources data/streams/count/sources # at once: without a file there are no names
seq 1 20000 | send count 2>pub.log || note_failure "names are back: $(cat pub.log)"
grep -q 'has the first 20000' pub.log || note_failure "names are back, not what they published: $(cat pub.log)"

# ---- a name's place
bus-topic create place --stream || exit 1
bus-pub place x --wait=durable || exit 1
bus-pub place x --name=a --wait=durable || exit 1
stop_busd
start_busd
mkfifo hold
for _ in 1 2 3; do
  bus-pub place --stdin=lines <hold 2>/dev/null &
done
exec 9>hold
three() { [ "$(bus-stat topic place --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["publishers"]))')" -ge 3 ]; }
wait_for "three without a name" three
expect 0 '' bus-pub place y --name=a --wait=durable
exec 9>&-

# ---- the clock
bus-topic create clock --stream || exit 1
bus-pub clock first --wait=durable
stop_busd
"$BUS_BUILD/tests/progs/log_make" --later data/streams/clock/00000000000000000000.log 1000000000000 ||
  note_failure "no message of the future"
start_busd
bus-pub clock now --wait=durable || note_failure "clock: not published"
expect 0 'sound' bus-fsck data/streams/clock
finish
