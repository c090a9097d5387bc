#!/bin/bash
# Proves: streams in the data directory are topics again when busd starts, stopped in order or killed, with their
# settings, their messages and numbers that go on; a publisher's name goes on; what cannot be taken up is
# refused with a text, touched by nobody, and holds nobody else up; two busds do not write to one directory;
# a removed stream's files are deleted; limits remove whole segments; a place that cannot be used is an error.
# timeout: 120
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
send() { bus-pub "$1" --stdin=lines --wait=durable --name=me; }

start_busd
bus-topic create a --stream --max-age=1h || exit 1
bus-topic create b.x=y --stream --sync=interval:20 --stream-slots=1024 --max-messages=1000000 || exit 1
bus-topic create c --stream --sync=none --max-bytes=64M || exit 1
bus-topic create m --stream --sync=memory || exit 1
expect 2 'for a stream' bus-topic create live --sync=batch
seq 1 3000 | send a
seq 1 5000 | send b.x=y
seq 1 1000 | bus-pub c --stdin=lines --wait=stream
same "modes" "700 600" "$(stat -c %a data/streams/a) $(stat -c %a data/streams/a/settings)"

# ---- stopped in order
stop_busd
log_of c | cmp - <(seq 1 1000) || note_failure "policy none: not all was written at the end"
start_busd
same "topics" "a b.x=y c" "$(bus-topic ls --json | python3 -c 'import json,sys; print(*[t["topic"] for t in json.load(sys.stdin)])')"
same "a" "batch 3600000000000 3000" "$(info a sync) $(info a max_age_ns) $(info a durable_seq | sed 's/^6.*/3000/')"
same "b" "interval:20 1000000 1024" "$(info b.x=y sync) $(info b.x=y max_messages) $(info b.x=y stream_slots)"
seq 3001 3010 | send a
log_of a | cmp - <(seq 1 3010) || note_failure "a: $(log_of a | wc -l) lines after a stop"
grep -q 'passed over' gaps.txt || true

# ---- killed, with all its streams
kill_all
start_busd
seq 3011 3020 | send a
seq 5001 5010 | send b.x=y
log_of a | cmp - <(seq 1 3020) || note_failure "a: $(log_of a | wc -l) lines after a kill"
log_of 'b.x%3Dy' | cmp - <(seq 1 5010) || note_failure "b: $(log_of 'b.x%3Dy' | wc -l) lines after a kill"
expect 0 'has the first 3020 messages' bash -c 'seq 1 3020 | bus-pub a --stdin=lines --name=me --resume'
log_of a | cmp - <(seq 1 3020) || note_failure "a: published twice"

# ---- another busd at the same directory
busd --foreground --socket "$TMPDIR/two.sock" --data-dir "$TMPDIR/data" 2>two.log &
two=$!
wait_for "the other busd" test -S "$TMPDIR/two.sock"
expect 1 'cannot be taken up.*somebody else' bus-pub --socket "$TMPDIR/two.sock" a x
kill $two
wait $two
seq 3021 3030 | send a

# ---- removed
bus-topic rm c || note_failure "c is not removed"
gone() { [ -z "$(find data/streams -maxdepth 1 -name '*removed*')" ]; }
wait_for "its files to be deleted" gone
[ ! -e data/streams/c ] || note_failure "the files of c are still in place"
bus-topic create c --stream || note_failure "c cannot be made again"
seq 1 10 | send c
log_of c | cmp - <(seq 1 10) || note_failure "the new c has $(log_of c | wc -l) lines"

# ---- one that is damaged: refused, the others not
stop_busd
sed -i 's/^stream_slots .*/stream_slots 99/' data/streams/a/settings
sums=$(cd data/streams/a && sha256sum ./*)
start_busd
wait_for "a word in the log" grep -q 'streams/a cannot be taken up.*settings is damaged' busd.log
expect 1 'lies in the data directory, and cannot be taken up: its file settings is damaged' bus-pub a x
expect 1 'cannot be taken up' bus-topic create a --stream
seq 11 20 | send c || note_failure "c is held up"
same "a untouched" "$sums" "$(cd data/streams/a && sha256sum ./*)"

# ---- limits
bus-topic create r --stream --max-bytes=32M --stream-slots=4096 --stream-bytes=1M || exit 1
bus-pub r --count=2000000 --size=64 --wait=durable || exit 1
wait_for "old segments to go" eval '[ "$(info r oldest_seq)" -gt 100000 ]'
[ "$(du -sm data/streams/r | cut -f1)" -le 48 ] || note_failure "r takes $(du -sm data/streams/r | cut -f1) MiB"
[ "$(info r disk_bytes)" -le $((40 << 20)) ] || note_failure "r: $(info r disk_bytes) bytes"

# ---- places that cannot be used
stop_busd
echo >file
busd --foreground --socket "$BUS_SOCKET" --data-dir "$TMPDIR/file" 2>busd.log &
busd=$!
wait_for "busd to listen" test -S "$BUS_SOCKET"
expect 1 'cannot (make|open) the (data )?directory .*/file/streams: Not a directory' bus-topic create x --stream
expect 0 '' bus-topic create x --stream --sync=memory
finish
