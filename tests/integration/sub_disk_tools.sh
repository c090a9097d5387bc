#!/bin/bash
# Proves: bus-sub --from reaches to a stream's disk: oldest, a number, a time as a date or seconds, a time before now, so
# many before the end; --until-end ends at the end of the stream and not before, over the ring's edge, over a busd that
# is away in the midst of it, and says what a damaged file cost, and what it waits for where the log cannot be read. A live
# topic has times, no distances. Who has no right to it: users.sh.
# timeout: 120
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

start_busd
seq 0 99999 >lines
bus-topic create s --stream --stream-slots=1024 --max-messages=131072 || exit 1
head -n 50000 lines | bus-pub s --stdin=lines --wait=durable || note_failure "the first half: $?"
sleep 1.1
half=$(date +%s.%N)
tail -n 50000 lines | bus-pub s --stdin=lines --wait=durable || note_failure "the second half: $?"

sum() { sha256sum | cut -d' ' -f1; }
same "oldest" "$(sum <lines)" "$(bus-sub s --raw --from=oldest --until-end | sum)"
same "a number" "$(tail -n +1234 lines | sum)" "$(bus-sub s --raw --from=seq:1233 --until-end | sum)"
same "a number, -n" "$(tail -n 77777 lines | sum)" "$(bus-sub s --raw --from=-77777 --until-end | sum)"
same "few before the end" "$(tail -n 3 lines)" "$(bus-sub s --raw --from=-3 --until-end)"
same "more than there are" "$(sum <lines)" "$(bus-sub s --raw --from=-1000000 --until-end | sum)"
same "a time, in seconds" "$(tail -n 50000 lines | sum)" "$(bus-sub s --raw --from=time:@"$half" --until-end | sum)"
same "a time, as a date" "$(tail -n 50000 lines | sum)" \
  "$(bus-sub s --raw --from=time:"$(date -u -d "@$half" +%Y-%m-%dT%H:%M:%S.%NZ)" --until-end | sum)"
same "an hour ago" "$(sum <lines)" "$(bus-sub s --raw --from=-1h --until-end | sum)"
same "the last moment" "" "$(bus-sub s --raw --from=time:@"$(($(date +%s) + 100))" --until-end)"
same "times are those of the stream" 50000 "$(bus-sub s --from=time:@"$half" --count=1 -f '%s')"

# ---- busd is away in the midst: the end of a file is not the end
bus-sub s --raw --from=oldest --until-end --rate=200k >got 2>said &
sub=$!
sleep 0.2
no_worker
sleep 1
kill -0 $sub 2>/dev/null || note_failure "it ended without a busd: $(cat said)"
a_worker_again
wait $sub || note_failure "over a worker that was away: exit code $?, $(cat said)"
cmp got lines || note_failure "over a worker that was away: $(wc -l <got) lines"
bus-sub s --raw --from=oldest --until-end --rate=100k >got 2>said &
sub=$!
for _ in 1 2 3; do
  sleep 0.2
  kill_worker
done
wait $sub || note_failure "over workers that died: exit code $?, $(cat said)"
cmp got lines || note_failure "over workers that died: $(wc -l <got) lines; $(cat said)"

# ---- a log that busd cannot open: said once, and waited for, as long as --timeout allows
kill "$busd"
wait "$busd"
mv data/streams/s/sources sources
mkdir data/streams/s/sources # no file
start_busd
said='bus-sub: cannot read "s" from disk: the stream.s log is not open yet: the names of publishers .*; tried again until it can'
expect 3 "^$said" bus-sub s --raw --from=oldest --until-end --timeout=4s
expect 3 '^bus-sub: nothing came on "s" for 1 s$' bus-sub s --raw --from=oldest --until-end --timeout=1s
bus-sub s --raw --from=oldest --until-end >got 2>said &
sub=$!
sleep 6
kill -0 $sub || note_failure "it did not wait for a log that cannot be opened: $(cat said)"
same "how often it is said" 1 "$(wc -l <said)"
rmdir data/streams/s/sources
mv sources data/streams/s/sources
wait $sub || note_failure "over a log that could not be opened: exit code $?, $(cat said)"
cmp got lines || note_failure "over a log that could not be opened: $(wc -l <got) lines; $(cat said)"

# ---- one byte of a file
file=$TMPDIR/data/streams/s/00000000000000016384.log
printf X | dd of="$file" bs=1 seek=$((12288 + 64 * 7 + 20)) conv=notrunc status=none
bus-sub s --raw --from=oldest --until-end >got 2>said || note_failure "a damaged file: $?"
cmp got <(grep -vx 16391 lines) || note_failure "a damaged file: $(wc -l <got) lines"
grep -q 'lost 1 message' said || note_failure "what is lost is not said: $(cat said)"

# ---- topics without a log
topic live
expect 2 'there is no stream "live"' bus-sub live --from=-3
bus-pub live a
same "a live topic from a time" "" "$(bus-sub live --from=time:@"$(($(date +%s) + 100))" --until-end)"
finish
