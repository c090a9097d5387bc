#!/bin/bash
# Proves: a stream outlives a worker that dies while it stops by itself, with all that was durable; a removal that was
# under way when the worker died is finished by the next one; with the clock a day back for some starts no young message is
# deleted by its age; while the data directory cannot be listed nobody gets a topic by a name that may be a stream's, and then
# they are there; a rename that cannot be synced is taken back, or a removal, and no stream lives on under a name that is deleted; who
# makes a stream that another one is making gets what that becomes; what is wrong for a while is said once, and what is not, not.
# timeout: 240
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

if [ -n "${BUS_SAN:-}" ]; then
  echo "skipped: a sanitizer wants to be the first library"
  exit 77
fi
faults=$TMPDIR/faults
mkdir "$faults"
busd() { DISK_FAULT=$faults LD_PRELOAD=$BUS_BUILD/tests/disk_fault.so exec "$BUS_BUILD/busd" "$@"; }
stop_busd() {
  kill "$busd"
  wait "$busd"
}
# kill_held CALL: the worker, once it waits in what is to be held, and the hold ends
kill_held() {
  local pid
  pid=$(worker)
  wait_for "$1 to be reached" test -e "$faults/held"
  kill -KILL "$pid"
  rm "$faults/$1" "$faults/held"
  wait_for "a new worker" another_than "$pid"
}
send() { seq "$2" "$3" | timeout 20 bus-pub "$1" --stdin=lines --wait=durable 2>pub.log || note_failure "$1: $(cat pub.log)"; }
gone() { [ -z "$(find data/streams -mindepth 1 -maxdepth 1 -name '.*')" ]; }

# ---- the worker dies while it stops: the end of the stream is noted, and its writer has not ended
start_busd
bus-topic create stays --stream || exit 1
send stays 1 10
echo '.new hold' >"$faults/unlinkat"
kill -TERM "$(worker)"
kill_held unlinkat
wait_for "the stream to be taken up" bus-topic info stays
[ -e data/streams/stays/settings ] || note_failure "a stream is deleted by a worker's death"
send stays 11 20
log_of stays | cmp - <(seq 1 20) || note_failure "the log has $(log_of stays | wc -l) messages; $(cat gaps.txt)"

# ---- the worker dies after a stream's directory is renamed, and before that is noted; who asked for it has gone too
bus-topic create going --stream || exit 1
send going 1 10
echo '/streams$ hold' >"$faults/fsync"
bus-topic rm going &
rm=$!
wait_for "fsync to be reached" test -e "$faults/held"
kill -KILL $rm
wait $rm 2>/dev/null
kill_held fsync
wait_for "the files of the removed stream to be deleted" gone
expect 1 'no such topic' bus-topic info going
expect 0 '' bus-topic create going --stream
send going 1 3
log_of going | cmp - <(seq 1 3) || note_failure "a removed stream is back"
log_of stays | cmp - <(seq 1 20) || note_failure "the other stream: $(cat gaps.txt)"

# ---- the clock is a day back for some starts: a segment without a message, one with some, two without
bus-topic create aged --stream --max-age=1h || exit 1
send aged 1 10
for back in none some none none; do
  stop_busd
  DISK_FAULT_CLOCK=-100000 start_busd
  wait_for "the stream to be written" info_is aged state running
  [ $back = none ] || send aged 11 20
done
stop_busd
start_busd
wait_for "the stream to be written" info_is aged state running
send aged 21 21
sleep 1.2 # limits are looked at each second
log_of aged | cmp - <(seq 1 21) || note_failure "young messages are deleted; $(cat gaps.txt)"
bus-sub aged --from=oldest --until-end -f '%T\n' | sort -c || note_failure "times go back"
# ---- the data directory cannot be opened, listed or synced: nobody gets a name that may be a stream's
for fault in 'openat /streams EMFILE' 'readdir any EIO' 'fsync /streams$ EIO'; do
  stop_busd
  set -- $fault
  echo "$2 $3 *" >"$faults/$1"
  start_busd
  expect 1 'not known yet: cannot (open|list|sync) the data directory.*tried again' timeout 10 bus-pub stays --wait=ring x
  expect 1 'not known yet' timeout 10 bus-topic create "other$1"
  rm "$faults/$1"
  wait_for "the stream to be there after $fault" bus-topic info stays
  expect 0 '' bus-topic create "other$1"
done
send stays 21 30
log_of stays | cmp - <(seq 1 30) || note_failure "the log has $(log_of stays | wc -l) messages; $(cat gaps.txt)"
# ---- renamed, and that cannot be synced: as it was, and what is durable stays; or removed, where it does not come back
bus-topic create kept --stream || exit 1
send kept 1 10
echo '/streams$ EIO' >"$faults/fsync"
expect 1 'cannot sync the data directory.*as it was' bus-topic rm kept
gone || note_failure "a stream that was not removed has lost its name: $(ls -A data/streams)"
send kept 11 20
kill_worker
send kept 21 30
log_of kept | cmp - <(seq 1 30) || note_failure "the log has $(log_of kept | wc -l) messages; $(cat gaps.txt)"
echo '/streams$ EIO *' >"$faults/fsync"
expect 1 'is removed, but the data directory cannot be synced' bus-topic rm kept
expect 1 'no such topic' bus-topic info kept
gone && note_failure "files are deleted, and that they may be is not on disk"
rm "$faults/fsync"
echo '/streams$ EIO' >"$faults/fsync"
expect 1 'cannot sync the data directory' bus-topic create kept --stream
[ ! -e data/streams/kept ] || note_failure "a stream that was not made is there"
[ ! -e data/streams/.new.kept ] || note_failure "what was not made is left: $(ls -A data/streams)"
expect 0 '' bus-topic create kept --stream
bus-topic rm kept || note_failure "kept is not removed"
wait_for "all of it to be deleted" gone
# ---- two make the same stream at one time: both have it then, or are told what it is; if the first is refused the second makes it
for i in 1 2 3; do
  bus-topic create twice$i --stream >one 2>&1 &
  first=$!
  bus-topic create twice$i --stream >two 2>&1 || note_failure "the second one: $(cat two)"
  wait $first || note_failure "the first one: $(cat one)"
done
echo '.new.second hold' >"$faults/renameat"
bus-topic create second --stream >one 2>&1 &
first=$!
wait_for "the first to be at it" test -e "$faults/held"
bus-topic create second --stream --max-age=1h >two 2>&1 &
second=$!
bus-topic create second >three 2>&1 & # in the way of a stream, it is none
third=$!
bus-topic create second --stream >four 2>&1 & # goes while it waits
fourth=$!
sleep 0.3
kill -KILL $fourth
wait $fourth 2>/dev/null
rm "$faults/renameat" "$faults/held"
wait $first || note_failure "the first one: $(cat one)"
wait $second && note_failure "two with other settings have the same stream"
grep -q 'another max_age' two || note_failure "the second one: $(cat two)"
wait $third && note_failure "a topic and a stream have the same name"
grep -q 'is a stream' three || note_failure "the third one: $(cat three)"
echo '.new.third>third EIO' >"$faults/renameat"
echo '.new.third hold' >"$faults/unlinkat"
bus-topic create third --stream >one 2>&1 &
first=$!
wait_for "the first to be refused" test -e "$faults/held"
bus-topic create third --stream >two 2>&1 &
second=$!
sleep 0.3
rm "$faults/unlinkat" "$faults/held"
wait $first && note_failure "the disk reported an error, and a stream is made"
wait $second || note_failure "the second one was not asked again: $(cat two)"
send third 1 3
gone || note_failure "something is left: $(ls -A data/streams)"
# ---- settings that were written in part: said to be for want of room, and nothing is left
echo 'busd-stream short' >"$faults/write"
expect 1 'cannot write the stream.s settings: No space left' bus-topic create part --stream
[ ! -e "$faults/write" ] || note_failure "the settings are not written in one piece"
gone || note_failure "something is left: $(ls -A data/streams)"

# ---- an old segment that cannot be removed: said once
bus-topic create old --stream --max-messages=1 || exit 1
bus-topic create unused --stream || exit 1
send old 1 5
stop_busd
echo '.log EROFS *' >"$faults/unlinkat"
start_busd
send old 6 10
sleep 3.5
same "times that it is said" 1 "$(grep -c '"old": an old segment cannot be removed: Read-only' busd.log)"
rm "$faults/unlinkat"
wait_for "it to be removed" grep -q '"old": old segments can be removed again' busd.log
log_of old | cmp - <(seq 6 10) || note_failure "it is not removed, or too much: $(log_of old | tr '\n' ' ')"

# ---- names of publishers are missed where there were some only
stop_busd
rm data/streams/old/sources
start_busd
wait_for "it to be said" grep -q '"old".*names of publishers cannot be read, or are not there' busd.log
wait_for "the stream to be written" info_is unused state running
! grep -q '"unused".*names of publishers' busd.log || note_failure "a stream that nobody published on misses names"
finish
