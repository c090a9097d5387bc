#!/bin/bash
# Proves: who has read a stream to its end, and whose busd dies, waits for the next one for as long as that cannot write
# where the stream goes on: its disk is full, for longer than anything that is only late. Nothing is lost then.
# timeout: 120
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

small_disk
has_read() { [ "$(wc -l <"$1")" -ge "$2" ]; }

start_busd
bus-topic create t --stream --max-bytes=64M --stream-slots=4096 --stream-bytes=1M || exit 1
seq 1 60000 >lines
head -n 20000 lines | bus-pub t --stdin=lines --wait=durable --name=me || exit 1
bus-sub t --raw --from=oldest >got 2>said &
sub=$!
wait_for "all to be read" has_read got 20000
kill_all
fill_disk
start_busd
wait_for "the disk to be full" info_is t state full
wait_for "the reader to be back" attached t 1
sleep 4
bus-pub t --stdin=lines --wait=durable --name=me --resume --full=block --full-time=forever <lines 2>pub.log &
pub=$!
sleep 0.5
empty_disk
wait $pub || note_failure "the publisher failed: $(cat pub.log)"
wait_for "the rest to be read" has_read got 60000
kill $sub
wait $sub
cmp got lines || note_failure "read: $(wc -l <got) lines"
grep -q 'lost' said && note_failure "lost something: $(cat said)"
finish
