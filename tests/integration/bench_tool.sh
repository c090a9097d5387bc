#!/bin/bash
# Proves: bus-bench measures what it says: every message arrives and is counted, at a rate none is left out, its
# JSON, CSV and .hgrm agree with each other and have the promised keys; wrong usage, no busd, nothing
# to receive and a process that dies end it with the right exit code; it leaves no process behind.
. tests/integration/lib_tools.sh

# wrong usage, before any busd is looked for
export BUS_SOCKET=$TMPDIR/nobody-listens
expect 0 '^usage: bus-bench ' bus-bench -h
expect 2 'what is to be measured' bus-bench
expect 2 '"fast" cannot be measured' bus-bench fast
expect 2 'which topic' bus-bench sub
expect 2 'at least 8 bytes' bus-bench pair --rate=10 --size=4
expect 2 'needs latencies' bus-bench pub --hgrm=x
expect 2 'not for pair' bus-bench pair --subs=2
expect 2 'only receives' bus-bench sub --topic=t --batch=2
expect 2 'contradict' bus-bench pub --subs=2 --no-subs
expect 2 'not a topic name' bus-bench pub --topic='a..b'
expect 2 '--wait: ' bus-bench pub --wait=maybe
expect 2 'processes, 64 is the most' bus-bench pair --clients=33
expect 2 'is for replay' bus-bench pub --dir=x
expect 2 'all of a log is read' bus-bench replay --duration=1s
expect 1 'cannot measure "nowhere": cannot open "nowhere"' bus-bench replay --dir=nowhere
expect 3 'cannot measure: no busd listens' bus-bench replay --count=10
expect 3 'cannot measure: cannot connect' bus-bench pair --count=10 --no-limit
expect 3 'nobody-listens' bus-bench sub --topic=t

start_busd
topic t dies

# number JSON KEY...: the number behind the last key; each key is looked for behind the one before
number() {
  local rest=$1 key
  shift
  for key in "$@"; do rest=${rest#*\""$key"\":}; done
  rest=${rest%%[,\}]*}
  echo "${rest//[!0-9.eE+-]/}"
}

# in_order WHAT NUMBER...: none is less than the one before
in_order() {
  local what=$1
  shift
  printf '%s\n' "$@" | sort -gc 2>/dev/null || note_failure "$what: not in order: $*"
}

few=(--rounds=5 --count=2000 --wait=adaptive)

json=$(bus-bench pair "${few[@]}" --json --hgrm=pair.hgrm) || note_failure "pair: exit code $?"
same "pair: messages" 2000 "$(number "$json" messages)"
mapfile -t bus_ns < <(for p in p50 p90 p99 p999 max; do number "$json" rtt_ns $p; done)
mapfile -t limit_ns < <(for p in p50 p90 p99 p999 max; do number "$json" limit rtt_ns $p; done)
in_order "pair: percentiles" 1 "${bus_ns[@]}"
in_order "pair: percentiles of the limit" 1 "${limit_ns[@]}"
in_order "pair: ratio" "$(number "$json" ratio_min)" "$(number "$json" ratio)" "$(number "$json" ratio_max)"
same "pair: total of the .hgrm" 2000 "$(sed -n 's/^#\[Max .*Total count *= *\([0-9]*\)\]$/\1/p' pair.hgrm)"
same "pair: max of the .hgrm, in us" "$(number "$json" rtt_ns max | sed -E 's/^([0-9]*)([0-9]{3})$/\1.\2/')" \
  "$(sed -n 's/^#\[Max *= *\([0-9.]*\),.*/\1/p' pair.hgrm)"

json=$(bus-bench replay --rounds=2 --count=3000 --size=100 --json) || note_failure "replay: exit code $?"
same "replay: messages" 3000 "$(number "$json" messages)"
same "replay: size" 100 "$(number "$json" size)"
in_order "replay: positive" 1 "$(number "$json" messages_per_second)" # and there is a limit to it
in_order "replay: ratio" 0.000001 "$(number "$json" ratio_min)" "$(number "$json" ratio)" "$(number "$json" ratio_max)"
bus-topic ls --json | grep -q replay && note_failure "replay: its stream was left behind"

json=$(bus-bench pub "${few[@]}" --json) || note_failure "pub: exit code $?"
same "pub: messages" 2000 "$(number "$json" messages)"
same "pub: deliveries" 2000 "$(number "$json" deliveries)"
same "pub: lost" 0 "$(number "$json" lost)"
in_order "pub: positive" 1 "$(number "$json" messages_per_second)"
in_order "pub: positive" 1 "$(number "$json" limit messages_per_second)"
in_order "pub: positive" 64 "$(number "$json" limit bytes_per_second)"
in_order "pub: ratio" "$(number "$json" ratio_min)" "$(number "$json" ratio)" "$(number "$json" ratio_max)"

json=$(bus-bench pub "${few[@]}" --no-limit --subs=3 --pubs=2 --json) || note_failure "pub, many: exit code $?"
same "two publishers" 4000 "$(number "$json" messages)"
same "three subscribers of two publishers" 12000 "$(number "$json" deliveries)"
[[ $json != *limit* ]] || note_failure "--no-limit, but: $json"

for how in --batch=16 --inplace --no-touch "--size=1M --inplace" --size=0 --size=7 "--size=100000 --batch=3"; do
  # shellcheck disable=SC2086  # it is two options
  json=$(bus-bench pub --rounds=5 --count=480 --wait=adaptive --no-limit $how --json) || note_failure "pub $how: exit code $?"
  same "pub $how: deliveries" "$(number "$json" messages)" "$(number "$json" deliveries)"
done

# An open loop sends all that is due, however slow the machine is.
for kind in pair pub; do
  json=$(bus-bench $kind --rounds=5 --duration=500ms --rate=2000 --wait=sleep --no-limit --json) || note_failure "$kind at a rate: $?"
  same "$kind at 2000 a second for half a second" 1000 "$(number "$json" messages)"
done

csv=$(bus-bench pub "${few[@]}" --csv)
same "CSV: as many values as names" "$(sed -n 1p <<<"$csv" | tr -dc , | wc -c)" "$(sed -n 2p <<<"$csv" | tr -dc , | wc -c)"
grep -q ',limit_messages_per_second,' <<<"$csv" || note_failure "CSV: $csv"

# Receiving alone
expect 3 'nothing was published on "t"' bus-bench sub --topic=t --duration=50ms
bus-bench sub --topic=t --count=1000 --no-limit --json >sub.json &
pid=$!
wait_for "the subscriber" attached t 1
bus-pub t --size=100 --count=1000
wait $pid || note_failure "sub: exit code $?"
same "sub: deliveries" 1000 "$(number "$(cat sub.json)" deliveries)"

# A process of the measurement dies
bus-bench pub --duration=20s --no-limit --wait=adaptive --topic=dies >out 2>&1 &
pid=$!
wait_for "the measurement" attached dies 1
kill -9 "$(pgrep -P $pid | tail -n 1)"
wait $pid
same "exit code when a process of it died" 1 $?
grep -q 'died' out || note_failure "a process died: $(cat out)"

# It is killed itself: its processes go too
bus-bench pair --duration=20s --no-limit --wait=adaptive --topic=killed >out 2>&1 &
pid=$!
wait_for "the measurement" sh -c "[ \"\$(pgrep -P $pid | wc -l)\" -eq 2 ]"
mapfile -t left < <(pgrep -P $pid)
kill -9 $pid
wait $pid 2>/dev/null
gone() { ! kill -0 "${left[@]}" 2>/dev/null; }
wait_for "its processes to go" gone
finish
