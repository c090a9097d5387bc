#!/bin/bash
# Proves: a stream that the next busd cannot take up at once, since the former one, which is dying, has its lock still, is no
# stream that is gone: who reads it from disk, has a durable subscription on it, or publishes on it by a name, waits,
# for as long as it takes, and goes on without a loss; who asks for it meanwhile is told why it is not there.
# timeout: 120
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

command -v flock >/dev/null || { echo "needs flock (package util-linux)"; exit 77; }
has_read() { [ "$(wc -l <"$1")" -ge "$2" ]; }

start_busd 9>&-
bus-topic create s --stream --stream-slots=1024 --max-messages=131072 || exit 1
seq 1 60100 >lines
head -n 60000 lines | bus-pub s --stdin=lines --wait=durable || exit 1
mkfifo in
bus-pub s --name=me --full=block --full-time=forever --stdin=lines <in 2>pub.log &
pub=$!
exec 9>in
bus-sub s --raw --durable=mine --from=oldest >durable.got 2>durable.said 9>&- &
durable=$!
wait_for "all to be read" has_read durable.got 60000
bus-sub s --raw --from=oldest --rate=20k >disk.got 2>disk.said 9>&- &
disk=$!
wait_for "some to be read" has_read disk.got 2000
kill_all
flock data/streams/s sleep 4 9>&- &
lock=$!
start_busd 9>&-
wait_for "a word in the log" grep -q 'streams/s cannot be taken up.*somebody else.*tried again' busd.log
again='cannot be taken up: .*; it is tried again'
expect 1 "$again" bus-replay s
expect 1 "$again" bus-pub s x
expect 1 "$again" bus-sub s --durable=mine
expect 1 "$again" bus-sub s --from=seq:5
expect 1 "$again" bus-topic positions s
tail -n 100 lines >&9
[ "$(wc -l <disk.got)" -lt 60000 ] || note_failure "all was read before the stream was away"
for pid in $disk $durable $pub; do
  kill -0 $pid 2>/dev/null || note_failure "one ended: $(cat disk.said durable.said pub.log)"
done
wait $lock
exec 9>&-
wait $pub || note_failure "the publisher failed: $(cat pub.log)"
wait_for "all to be read from disk" has_read disk.got 60100
wait_for "all to be read by the durable one" has_read durable.got 60100
kill $disk $durable
wait $disk $durable
for reader in disk durable; do
  cmp $reader.got lines || note_failure "the $reader reader: $(wc -l <$reader.got) lines"
  grep -q lost $reader.said && note_failure "the $reader reader: $(cat $reader.said)"
done
finish
