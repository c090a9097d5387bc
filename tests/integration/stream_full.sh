#!/bin/bash
# Proves: a disk that is full stops the streams on it and nothing else: their publishers wait, live topics and
# streams in memory go on, it is counted and shown; once there is room all goes on by itself, and the log
# has everything, once. busd can be stopped meanwhile, and no number that was seen is given again.
# timeout: 120
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

small_disk
start_busd
bus-topic create t --stream --max-bytes=64M --stream-slots=4096 --stream-bytes=1M || exit 1
bus-topic create m --stream --sync=memory || exit 1
seq 1 1000 | bus-pub t --stdin=lines --wait=durable --name=me || exit 1
fill_disk
seq 1 100000 >lines
bus-pub t --stdin=lines --wait=durable --name=me --resume --full=block --full-time=forever <lines 2>pub.log &
pub=$!
wait_for "the disk to be full" info_is t state full
expect 0 'No space left' bus-topic info t
expect 0 'No space left' bus-stat topic t
expect 3 'no room|has no room|timed out|time' bus-pub t --full=block --full-time=300ms --count=20000 --size=64
[ "$(info t spill_full)" -gt 0 ] || note_failure "it is not counted"
bus-stat metrics | grep -q '^bus_spill_full_total{topic="t"} [1-9]' || note_failure "no metric"
seq 1 1000 | bus-pub live --stdin=lines || note_failure "a live topic is held up"
seq 1 1000 | timeout 10 bus-pub m --stdin=lines --wait=stream || note_failure "a stream in memory is held up"
kill -0 $pub 2>/dev/null || note_failure "the publisher did not wait: $(cat pub.log)"
empty_disk
wait_for "room again" info_is t state running
wait $pub || note_failure "the publisher failed: $(cat pub.log)"
log_of t | grep -v '^.\{64\}' >got
# the one that gave up sent some, of its own; mine are there in order, once
cmp got lines || note_failure "the log has $(wc -l <got) of $(wc -l <lines) lines"
grep -q 'is written again' busd.log || note_failure "its end is not in busd's log: $(cat busd.log)"

# stopped while the disk is full: what was numbered and seen is no number of the next busd's
fill_disk
bus-sub t -f '%s\n' >seen 2>/dev/null &
sub=$!
pubs=()
for _ in 1 2 3 4; do
  bus-pub t --full=block --full-time=forever --count=100000 --size=64 --slots=4096 --bytes=256K 2>/dev/null &
  pubs+=($!)
done
behind() { [ $(($(info t head_seq) - $(info t durable_seq))) -ge 4000 ]; }
wait_for "the disk to be full again" info_is t state full
wait_for "the ring to be full too" behind
wait_for "it to be read" test -s seen
began=$(date +%s)
kill "$busd"
wait "$busd" || note_failure "busd did not leave in order: $?"
[ $(($(date +%s) - began)) -lt 15 ] || note_failure "busd took $(($(date +%s) - began)) s to leave"
grep -q 'busd leaves before all of it is on disk' busd.log || note_failure "busd does not say what it leaves: $(cat busd.log)"
sleep 0.5 # what was numbered at the end is read
kill $sub "${pubs[@]}" 2>/dev/null
wait $sub "${pubs[@]}" 2>/dev/null
empty_disk
start_busd
next=$(info t head_seq)
[ "$(tail -n 1 seen)" -lt "$next" ] || note_failure "number $(tail -n 1 seen) was seen, and the next busd goes on at $next"
finish
