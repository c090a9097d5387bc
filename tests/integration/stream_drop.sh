#!/bin/bash
# Proves: a stream made with --on-full=drop holds up no publisher when the disk is full: what its ring has no room for
# is dropped, counted and shown, and who waits for it is told, and does not wait in vain; all that was not dropped
# is in the log, in order, once, however often a worker dies; once there is room nothing is dropped any more. How it
# was made is kept, and shown; a stream that was not made so still waits (stream_full.sh).
# timeout: 120
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

small_disk
start_busd
expect 2 'on-full: "perhaps" is not block or drop' bus-topic create t --stream --on-full=perhaps
expect 2 'on-full is for a stream' bus-topic create t --on-full=drop
expect 2 'waits for no disk' bus-topic create t --stream --on-full=drop --sync=memory
bus-topic create t --stream --max-bytes=64M --stream-slots=4096 --stream-bytes=1M --on-full=drop || exit 1
bus-topic create t --stream --max-bytes=64M --stream-slots=4096 --stream-bytes=1M --on-full=drop || exit 1
expect 1 'exists with on-full drop, not block' \
  bus-topic create t --stream --max-bytes=64M --stream-slots=4096 --stream-bytes=1M
info_is t on_full drop || note_failure "it is not shown: $(info t on_full)"
seq 1 1000 | bus-pub t --stdin=lines --wait=durable --name=me || note_failure "a disk that has room drops"
info_is t spill_dropped 0 || note_failure "dropped though there is room"

fill_disk
seq 1001 100000 >lines
# sent, and gone: nobody waits for the disk
began=$(date +%s)
bus-pub t --stdin=lines --name=me --full=block --full-time=forever <lines || note_failure "a publisher failed"
bus-pub t --count=200000 --size=64 --name=other || note_failure "another publisher failed"
[ $(($(date +%s) - began)) -lt 30 ] || note_failure "publishers were held up for $(($(date +%s) - began)) s"
info_is t state full || note_failure "the disk is $(info t state)"
first=$(info t spill_dropped)
[ "$first" -gt 100000 ] || note_failure "only $first are said to be dropped"
bus-stat metrics | grep -q "^bus_spill_dropped_total{topic=\"t\"} $first" || note_failure "no metric"
expect 0 'drops what comes: [1-9]' bus-topic info t
expect 0 'found no room, and were dropped' bus-stat topic t
grep -q 'its ring had no room for .* messages, which were dropped' busd.log || note_failure "busd does not say it: $(cat busd.log)"
# who waits for what was dropped is told, and is not held up; also what stands in the ring, and is not on disk yet
expect 1 'dropped 100000 messages of this publisher' timeout 20 bus-pub t --count=100000 --size=64 --name=third --wait=durable
kill_worker
wait_for "the next worker" info_is t state full
[ "$(info t spill_dropped)" -ge $((first + 100000)) ] || note_failure "the next worker counts anew: $(info t spill_dropped) after $first"
expect 1 'dropped 10 messages of this publisher' timeout 20 bus-pub t --count=10 --size=64 --name=third --wait=stream
empty_disk
wait_for "room again" info_is t state running
drained() { [ "$(info t head_seq)" = "$(info t durable_seq)" ]; }
wait_for "what waited to be on disk" drained
grep -q 'is written again' busd.log || note_failure "its end is not in busd's log: $(cat busd.log)"

# with room nothing is dropped, of the same ones too
before=$(info t spill_dropped)
seq 100001 110000 | bus-pub t --stdin=lines --wait=durable --name=me || note_failure "who goes on is refused"
bus-pub t --count=1000 --size=64 --name=other --wait=durable || note_failure "the other is refused"
info_is t spill_dropped "$before" || note_failure "dropped though there is room"
log_of t >all
grep -v '^.\{64\}' all >got
sort -n -c -u got || note_failure "the lines are not in order, once"
head -n 1000 got | cmp - <(seq 1 1000) || note_failure "what was durable before is not all there"
tail -n 10000 got | cmp - <(seq 100001 110000) || note_failure "what came afterwards is not all there"
sent=$((110000 + 200000 + 100010 + 1000))
[ $(($(wc -l <all) + before)) -eq $sent ] || note_failure "$(wc -l <all) are there and $before dropped, of $sent"

# how it was made survives all of busd
kill "$busd"
wait "$busd" || note_failure "busd did not leave in order: $?"
start_busd
wait_for "the stream" info_is t state running
info_is t on_full drop || note_failure "the next busd has forgotten it"
finish
