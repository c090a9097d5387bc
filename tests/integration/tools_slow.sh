#!/bin/bash
# Proves: what bus-pub and bus-sub do when one is slower than the other: wait, give up, evict, lose and say so;
# rates are kept; a line that arrives alone is published alone.
. tests/integration/lib_tools.sh
start_busd
topic block fail evict lossy paced alone

# stuck TOPIC OPTION...: a bus-sub whose output nobody reads until $TMPDIR/go exists
stuck() {
  rm -f go
  bus-sub "$@" --timeout=3s 2>err | (until [ -e go ]; do sleep 0.05; done; cat) >got &
  reader=$!
  wait_for "the subscriber" attached "$1" 1
}

# block: gives up in time, says who is to blame, and all it says it sent arrives
seq 1 3000000 >lines
stuck block
bus-pub block --full=block --full-time=300ms --json <lines >summary 2>said
same "exit code with --full=block" 3 $?
touch go
wait $reader
sent=$(grep -o '"messages":[0-9]*' summary | cut -d : -f 2)
[ "$sent" -lt 3000000 ] || note_failure "nothing was full"
grep -q "cannot publish to \"block\" (line $((sent + 1))): no room for 300 ms" said || note_failure "it says: $(cat said)"
head -n "$sent" lines | cmp - got || note_failure "not all that was published arrived"

# fail: at once
stuck fail
bus-pub fail --full=fail --json <lines >summary 2>said
same "exit code with --full=fail" 1 $?
touch go
wait $reader
sent=$(grep -o '"messages":[0-9]*' summary | cut -d : -f 2)
grep -q "(line $((sent + 1))): no room" said || note_failure "it says: $(cat said)"
head -n "$sent" lines | cmp - got || note_failure "not all that was published arrived"

# evict: the publisher gets through, the subscriber counts to the last message
stuck evict
bus-pub evict --full-time=300ms <lines || note_failure "a publisher was held up by one that stands still"
bus-pub evict "one more" &
touch go
wait $reader
wait $!
grep -q 'was too slow and was evicted' err || note_failure "eviction was not said: $(cat err)"
lost=$(sed -nE 's/^bus-sub: lost ([0-9]+) messages( of [0-9]+ publishers?)?$/\1/p' err)
same "arrived and lost" 3000001 "$(($(wc -l <got) + ${lost:-0}))"

# lossy: holds nobody up, and what it prints are lines that were sent, in order, the rest counted
bus-sub lossy --lossy --rate=2000 --count=1500 --raw >got 2>err &
sub=$!
wait_for "the subscriber" attached lossy 1
bus-pub lossy --rate=100k --count=300000 '{{Count}}' || note_failure "a lossy subscriber held a publisher up"
wait $sub || note_failure "bus-sub --lossy failed"
sort -n -u -c got || note_failure "lossy: not in order"
same "lossy: all are messages" 1500 "$(grep -cE '^[1-9][0-9]*$' got)"
# All up to the last one printed were printed or lost.
same "lossy: counted" "$(tail -n 1 got)" "$((1500 + $(sed -nE 's/^bus-sub: lost ([0-9]+) messages of 1 publisher$/\1/p' err)))"
[ "$(grep -c 'lost .* before number' err)" -le 4 ] || note_failure "complaints are more than one a second"

# A slow subscriber slows a publisher down, and loses nothing
bus-sub paced --rate=1000 --count=3000 --raw >got &
sub=$!
wait_for "the subscriber" attached paced 1
start=$EPOCHREALTIME
seq 1 3000 | bus-pub paced --slots=64
published_ms=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 1000))
wait $sub
seq 1 3000 | cmp - got || note_failure "a paced subscriber lost messages"
[ $published_ms -gt 2500 ] || note_failure "3000 messages went to a subscriber of 1000/s in $published_ms ms"

# A rate: 500 at 1000 a second are half a second, less than a whole one where the machine is ours
start=$EPOCHREALTIME
bus-pub rate x --rate=1000 --count=500
passed_ms=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 1000))
[ $passed_ms -ge 499 ] || note_failure "500 messages at 1000/s took $passed_ms ms"

start=$EPOCHREALTIME
seq 1 500 | bus-pub rate --rate=1000
passed_ms=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 1000))
[ $passed_ms -ge 499 ] || note_failure "500 lines at 1000/s took $passed_ms ms"

# A line that arrives alone: the pipe stays open and no second line comes before the first was printed
mkfifo in
bus-sub alone --count=1 --raw --timeout=20s >got &
sub=$!
wait_for "the subscriber" attached alone 1
bus-pub alone <in &
pub=$!
exec 3>in
echo first >&3
wait $sub
same "a line alone" first "$(cat got)"
exec 3>&-
wait $pub || note_failure "bus-pub failed at the end of its input"
finish
