#!/bin/bash
# Proves: a publisher on a stream that outlives all of busd goes on by itself once another busd serves the stream: with a
# name whatever was on disk, each line once and in order, though busd is killed again and again; without a name where all
# that it had sent was durable. Where it cannot go on without a loss, or the stream is another one, it is told so.
# timeout: 120
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

head_is() { [ "$(info "$1" head_seq)" -ge "$2" ]; }
has() { [ "$(info "$1" durable_seq)" -ge "$2" ]; }
said() { grep -q "$1" "$2"; }

# writer NAME: bus-pub's input is what goes to descriptor 9, which busd must not inherit
writer() {
  mkfifo "$1.fifo"
  bus-pub "${@:2}" --stdin=lines <"$1.fifo" 2>"$1.log" &
  pub=$!
  exec 9>"$1.fifo"
}
slowly() { for ((i = $1; i <= $2; i++)); do echo "$i"; sleep 0.1; done; }
close_in() { exec 9>&-; }

start_busd 9>&-
bus-topic create t --stream || exit 1

# ---- with a name, under a flow of lines
seq 1 20000 >lines
bus-pub t --stdin=lines --name=me --wait=durable --rate=4k --full=block --full-time=forever <lines 2>pub.log &
pub=$!
for _ in 1 2 3; do
  sleep 0.7
  kill_all
  sleep 0.2
  start_busd 9>&-
done
wait $pub || note_failure "the publisher failed: $(cat pub.log)"
wait_for "the last line" eval 'log_of t | tail -n 1 | grep -qx 20000'
log_of t | cmp - lines || note_failure "the log has $(log_of t | wc -l) lines of $(wc -l <lines)"
expect 0 '' bus-pub t --name=me --stdin=lines </dev/null

# ---- without one: all of it was durable
bus-topic create quiet --stream || exit 1
writer quiet quiet
seq 1 10 >&9
wait_for "ten lines" has quiet 10
sleep 0.2
kill_all
start_busd 9>&-
slowly 11 20 >&9
wait_for "ten lines more" eval 'log_of quiet | cmp -s - <(seq 1 20)'
close_in
wait $pub || note_failure "who had no name, and nothing to lose, failed: $(cat quiet.log)"

# ---- without one, and nobody knows: busd is made to die with messages that are not durable
bus-topic create busy --stream --sync=interval:60000 || exit 1
writer busy busy
seq 1 10 >&9
wait_for "the first sync" has busy 10 # the next one is a minute later
seq 11 110 >&9
wait_for "a hundred more in the stream" head_is busy 110
kill_all
start_busd 9>&-
for _ in {1..100}; do
  kill -0 $pub 2>/dev/null || break
  echo more >&9
  sleep 0.05
done 2>/dev/null
close_in
wait $pub && note_failure "who could not know what was on disk went on"
said 'without a name' busy.log || note_failure "it is not told why: $(cat busy.log)"

# ---- with a name, and what is missing is in its ring, which is not written over while there is no busd
bus-topic create kept --stream --slots=128 --sync=interval:60000 || exit 1
writer kept kept --name=me --full=block --full-time=forever
seq 1 10 >&9
wait_for "the first sync" has kept 10
seq 11 110 >&9
wait_for "a hundred more in the stream" head_is kept 110
kill_all
# the power, too: of what was not synced the slots are gone
dd if=/dev/zero of=data/streams/kept/00000000000000000000.log bs=64 seek=$((12288 / 64 + 10)) count=100 \
  conv=notrunc status=none
same "what is left" 10 "$(log_of kept | wc -l)"
seq 111 200 >&9
sleep 0.3
start_busd 9>&-
close_in
wait $pub || note_failure "who had it all in its ring failed: $(cat kept.log)"
wait_for "all of it" eval 'log_of kept | cmp -s - <(seq 1 200)'

# ---- another stream of that name
bus-topic create other --stream || exit 1
writer other other --name=me
seq 1 10 >&9
wait_for "ten lines" has other 10
kill_all
mv data/streams/other elsewhere
start_busd 9>&-
bus-topic create other --stream || exit 1
for _ in {1..100}; do
  kill -0 $pub 2>/dev/null || break
  echo more >&9
  sleep 0.05
done 2>/dev/null
close_in
wait $pub && note_failure "a publisher went on in another stream"
said 'another stream' other.log || note_failure "it is not told that: $(cat other.log)"
finish
