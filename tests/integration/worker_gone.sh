#!/bin/bash
# Proves: while busd has no worker, attached peers go on, a new client waits for one; who
# died meanwhile is noticed by the next worker, and a publisher that was blocked by the dead gets free; an idle
# publisher learns of a subscriber that came after the restart; rights and limits are those from before; workers that
# die again and again are started after growing pauses, which the log says; without the keeper there is no worker.
# timeout: 120
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

start_busd

# ---- messages, and a tool that waits
topic t
mkfifo in
bus-sub t --raw >out 2>sub.err &
sub=$!
bus-pub t <in 2>pub.err &
pub=$!
exec 5>in
wait_for "the subscriber" attached t 1
got() { [ "$(wc -l <out)" -ge "$1" ]; }
echo before >&5
wait_for "a message" got 1
no_worker
seq 2 5000 >&5
wait_for "messages while there is no worker" got 5000
timeout 20 bus-stat topic t >stat.out 2>&1 &
stat=$!
sleep 0.3
[ -s stat.out ] && note_failure "bus-stat did not wait: $(cat stat.out)"
a_worker_again
wait $stat
same "bus-stat's exit code" 0 $?
grep -q '\bt\b' stat.out || note_failure "bus-stat said: $(cat stat.out)"

# ---- an idle publisher, and a subscriber that it has never heard of
kill_worker
timeout 20 bus-sub t --raw --count=1 >late 2>late.err &
late=$!
reads() { [ "$(bus-stat topic t --json | grep -o '"subscribers":\[.*' | grep -o '"pid"' | wc -l)" = "$1" ]; }
wait_for "a second subscriber, joined" reads 2
echo "to both" >&5
wait $late
same "the late subscriber's exit code" 0 "$?"
same "what it got" "to both" "$(cat late)"
wait_for "the first one's" got 5001

# ---- died while there was no worker: it held the publisher up
topic full
bus-sub full --raw --count=1 >/dev/null &
slow=$!
wait_for "the slow subscriber" attached full 1
kill -STOP $slow
(seq 5000 | timeout 60 bus-pub full --full-time=50s; echo "code $?" >full.code) 2>full.err &
blocked() { bus-stat topic full --json | grep -q '"blocked":true'; }
wait_for "the publisher to be blocked" blocked
no_worker
kill -KILL $slow
wait $slow 2>/dev/null
sleep 0.1
[ -e full.code ] && note_failure "the publisher was not blocked"
a_worker_again
wait_for "the publisher to get free" test -e full.code
same "its exit code" "code 0" "$(cat full.code)$(cat full.err)"
wait_for "nobody on the topic" attached full 0

# ---- workers that die again and again
: >count
began=$SECONDS
until grep -q 'again and again: in 200 ms' busd.log || [ $((SECONDS - began)) -gt 40 ]; do
  read -r pid _ <"/proc/$busd/task/$busd/children" 2>/dev/null
  [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null && echo >>count
done
pauses=$(grep -o 'again and again: in [0-9]* ms' busd.log | grep -o '[0-9]*' | tr '\n' ' ')
[[ $pauses == *50*100*200* ]] || note_failure "pauses after $(wc -l <count) deaths: $pauses"
echo "after all that" >&5
wait_for "a message" grep -qx "after all that" out
serves() { timeout 5 bus-topic ls >/dev/null; }
wait_for "a worker that lives" serves
exec 5>&-
wait $pub
same "the publisher's exit code" 0 $?
kill $sub
wait $sub
same "what the tools complained of" '' "$(cat pub.err sub.err late.err)"

# ---- no keeper, no worker
pid=$(worker)
kill -KILL "$busd"
wait "$busd" 2>/dev/null
busd=
gone() { ! kill -0 "$pid" 2>/dev/null; }
wait_for "the worker to go with its keeper" gone

finish
