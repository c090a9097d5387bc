#!/bin/bash
# timeout: 60
# Proves: busd is not on the path of a message. Stopped, then killed: attached processes go on, awake and asleep; who
# needs busd is told so; a subscriber that dies then holds nobody up.
. tests/integration/lib_tools.sh

start_busd
topic t
mkfifo in
bus-sub t --raw >out 2>sub.err &
sub=$!
bash -c 'exec bus-pub t --full-time=500ms <in 2>pub.err' &
pub=$!
exec 5>in
wait_for "the subscriber" attached t 1

# got N: whether the subscriber has printed N lines
got() { [ "$(wc -l <out)" -ge "$1" ]; }

echo before >&5
wait_for "a message with busd" got 1

kill -STOP "$busd"
echo stopped >&5 # both were asleep: the publisher wakes the subscriber itself
wait_for "a message while busd is stopped" got 2
seq 3 10000 >&5
wait_for "many messages while busd is stopped" got 10000
kill -CONT "$busd"

kill -KILL "$busd"
wait "$busd" 2>/dev/null
busd=
echo killed >&5
wait_for "a message without busd" got 10001
seq 10002 20000 >&5
wait_for "many messages without busd" got 20000
same "the messages" "$( (echo before; echo stopped; seq 3 10000; echo killed; seq 10002 20000) | sha256sum)" \
  "$(sha256sum <out)"
same "what the tools complained of" "" "$(cat sub.err pub.err)"

expect 3 'no busd listens' bus-pub t more
expect 3 'no busd listens' bus-sub t

kill -KILL "$sub"
wait "$sub" 2>/dev/null
seq 1 20000 >&5 # more than the ring holds; the publisher hears from the kernel that it waits for nobody
exec 5>&-
wait "$pub"
same "the exit code of a publisher whose subscriber is dead" 0 $?
same "what it said" "" "$(cat pub.err)"

finish
