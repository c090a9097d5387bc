#!/bin/bash
# Proves: huge pages from end to end. With an empty pool a topic that insists is refused by a sentence that says what
# to do, one that does not gets ordinary pages, and bus-stat shows which it got; with a pool, the pages come from it,
# every byte arrives round after round of the ring, and they go back.
# serial: the pool of huge pages is the machine's
# timeout: 120
. tests/integration/lib_tools.sh
pool=/sys/kernel/mm/hugepages/hugepages-2048kB
[ -d $pool ] || { echo "this kernel has no huge pages of 2 MiB"; exit 77; }
free() { cat $pool/free_hugepages; }
is_free() { [ "$(free)" = "$1" ]; }
total() { cat $pool/nr_hugepages; }
# pages_of TOPIC: bytes of a page, as bus-stat says of its publisher
pages_of() { bus-stat numa --json | grep -o "\"topic\":\"$1\".*" | grep -o '"page_bytes":[0-9]*' | head -n 1 | cut -d : -f 2; }

before=$(total)
restore() {
  trap - EXIT
  [ -z "${busd:-}" ] || { kill "$busd" && wait "$busd"; }
  [ "$(total)" = "$before" ] || echo "$before" >$pool/nr_hugepages
}
trap restore EXIT
# set_free N: as many free huge pages as that, whatever is in use by others; whether there are now
set_free() {
  echo $(($(total) - $(free) + $1)) 2>/dev/null >$pool/nr_hugepages
  [ "$(free)" = "$1" ]
}

start_busd
bus-topic create must --bytes=4M --huge || exit 1
bus-topic create may --bytes=4M --huge=or-not || exit 1
# a publisher that stays, on fd 5: hold TOPIC; drop
hold() {
  rm -f hold
  mkfifo hold
  bus-pub "$1" <hold 2>said &
  holder=$!
  exec 5>hold
  wait_for "the publisher" publishes "$1"
}
publishes() { bus-topic info "$1" --json | grep -q '"publishers":1,'; }
drop() {
  exec 5>&-
  wait $holder || note_failure "the publisher: exit code $?, $(cat said)"
}

# ---- an empty pool
[ "$(free)" = 0 ] || set_free 0 || { echo "the pool has $(free) free huge pages, and may not be changed"; exit 77; }
expect 4 'not enough huge pages: [0-9]+ of 2 MiB wanted, 0 free; raise vm.nr_hugepages' bus-pub must x
hold may
same "pages of a topic that may have huge ones" 4096 "$(pages_of may)"
expect 0 '^may +auto, huge .* 4 KiB ' bus-stat numa
grep -q '"may": .* gets ordinary pages, the pool of huge pages is short' busd.log ||
  note_failure "busd's log does not say that ordinary pages were taken: $(cat busd.log)"
drop
bus-topic rm may && bus-topic create may --bytes=4M --huge=or-not

# ---- a pool: one ring of 4 MiB of payload takes a page for the slots besides
if ! set_free 8; then
  set_free 0
  [ $failures -eq 0 ] || exit 1
  echo "the pool of huge pages cannot be filled here ($(free) free): only its shortage was shown"
  exit 77
fi
hold must
same "pages of a topic that must have huge ones" 2097152 "$(pages_of must)"
same "huge pages that are free" 5 "$(free)"
expect 0 '^must +auto, huge .* 2 MiB +0: 6 MiB ' bus-stat numa
drop
# the ring goes round and round; the reader is there all the time
head -c 60000000 /dev/urandom >bytes
bus-topic rm --force must && bus-topic create must --bytes=4M --huge
wait_for "the pages to come back" is_free 8
bus-sub must --stdout=whole --count=800 >got 2>sub.said &
sub=$!
wait_for "the subscriber" attached must 1
bus-pub must --stdin=chunks:75000 <bytes || note_failure "bus-pub failed"
wait $sub || note_failure "bus-sub: $(cat sub.said)"
cmp bytes got || note_failure "what came through huge pages"

# ---- for 32 MiB more the pool is too short
bus-topic rm --force must && bus-topic create must --bytes=4M --huge
wait_for "the pages to come back" is_free 8
hold must
bus-pub must --size=9M --count=1 2>said.large
same "exit code of a message for which the pool is too short" 4 $?
grep -q 'not enough huge pages: 33 of 2 MiB wanted, ' said.large || note_failure "it says: $(cat said.large)"
echo 'still good' >&5
drop
same "after it" 'still good' "$(bus-sub must --from=last --until-end)"

# ---- some are taken, the rest is short: each gets what it may have
bus-topic rm --force must
wait_for "the pages to come back" is_free 8
set_free 4 || note_failure "the pool cannot be made smaller"
hold may
same "pages while there are some" 2097152 "$(pages_of may)"
bus-topic create other --bytes=4M --huge || exit 1
expect 4 'not enough huge pages: 3 of 2 MiB wanted, 1 free' bus-pub other x
bus-topic create another --bytes=4M --huge=or-not || exit 1
bus-pub another x
grep -q '"another": .* gets ordinary pages' busd.log || note_failure "not said: $(cat busd.log)"
drop
for topic in may other another; do bus-topic rm --force $topic; done
kill "$busd"
wait "$busd" || note_failure "busd: exit code $?"
busd=
wait_for "all huge pages to be free again" is_free 4
restore
finish
