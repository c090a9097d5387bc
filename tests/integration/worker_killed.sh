#!/bin/bash
# Proves: busd's worker killed by -9 under a running bus-pub/bus-sub pair costs no message and no exit code; killed 50
# times in a row, at moments of all kinds, while publishers and subscribers come and go, nothing is lost or twice, and
# everybody who opens is served; rights, topics and subscriptions are those from before; the pauses between new workers
# are short as long as they live.
# timeout: 240
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

trap 'touch enough' EXIT # who comes and goes leaves
start_busd

# ---- a running pair
topic pair
bus-sub pair --raw --count=100000 >pair.got 2>pair.sub &
sub=$!
wait_for "the subscriber" attached pair 1
for i in $(seq 20); do
  seq $((i * 5000 - 4999)) $((i * 5000))
  sleep 0.1
done | bus-pub pair 2>pair.pub &
pub=$!
for _ in 1 2 3; do
  sleep 0.4
  kill_worker
done
wait $pub
same "bus-pub's exit code" 0 $?
wait $sub
same "bus-sub's exit code" 0 $?
same "what came through" "$(seq 100000 | sha256sum)" "$(sha256sum <pair.got)"
same "complaints" '' "$(cat pair.pub pair.sub)"

# ---- 50 times, while others come and go; the seed decides when
seed=${BUS_TEST_SEED:-$RANDOM}
RANDOM=$seed
topic steady
bus-sub steady --raw >steady.got 2>steady.sub &
steady_sub=$!
wait_for "the steady subscriber" attached steady 1
mkfifo steady.in
bus-pub steady <steady.in 2>steady.pub &
steady_pub=$!
exec 5>steady.in
(
  for i in $(seq 1 100000); do
    echo "$i"
    [ -e enough ] && break
    sleep 0.001
  done
) >&5 &
feeder=$!
exec 5>&-

# comer N: one after another, a subscriber and a publisher of a topic of their own, all of whose messages it gets
comer() {
  local n=$1 round=0
  while [ ! -e enough ] && [ -d "$TMPDIR" ]; do
    round=$((round + 1))
    timeout 60 bus-sub "comer.$n.$round" --raw --from=oldest --count=500 >"got.$n" 2>"said.$n" &
    local s=$!
    for _ in {1..500}; do
      [ "$(bus-stat topic "comer.$n.$round" --json 2>/dev/null | grep -o '"subscribers":\[{' | wc -l)" = 1 ] && break
      bus-topic create "comer.$n.$round" 2>>"said.$n" >/dev/null || echo "create failed" >>"said.$n"
      sleep 0.02
    done
    seq 500 | timeout 60 bus-pub "comer.$n.$round" 2>>"said.$n" || echo "bus-pub: $?" >>"said.$n"
    wait $s || echo "bus-sub: $?" >>"said.$n"
    seq 500 | cmp -s - "got.$n" || echo "messages are not those that were sent" >>"said.$n"
    [ -s "said.$n" ] && { echo "round $round" >>"said.$n"; cp "said.$n" "failed.$n"; return; }
    bus-topic rm --force "comer.$n.$round" >/dev/null 2>&1
  done
  echo "$round" >"rounds.$n"
}
comer 1 &
comer1=$!
comer 2 &
comer2=$!
for _ in {1..50}; do
  sleep "0.$(printf %03d $((RANDOM % 300)))"
  kill_worker
done
touch enough
wait $comer1 $comer2
for n in 1 2; do
  [ -e "failed.$n" ] && note_failure "seed $seed: who came and went ($n): $(cat "failed.$n")"
done
wait $feeder
wait $steady_pub
same "the steady publisher's exit code (seed $seed)" 0 $?
same "what it said" '' "$(cat steady.pub steady.sub)"
last=$(bus-stat topic steady --json | grep -o '"messages":[0-9]*' | head -n 1 | cut -d : -f 2)
wait_for "the last message" grep -qx "$last" steady.got
seq 1 "$last" | cmp - steady.got || note_failure "seed $seed: the steady flow was disturbed"
kill $steady_sub
wait $steady_sub
same "workers killed" 53 "$(grep -c 'was killed by signal 9' busd.log)"
# started at once, but for those that died one upon the other
slow=$(grep -c 'after a pause' busd.log)
most=25
[ -n "${BUS_SAN:-}" ] && most=53 # sanitized workers take so long to begin that many die young
[ "$slow" -lt $most ] || note_failure "$slow of 53 workers came after a pause"
grep -q 'left out of the former' busd.log && note_failure "registry: $(grep 'left out' busd.log | head -n 3)"
grep -q 'is lost' busd.log && note_failure "segments: $(grep 'is lost' busd.log | head -n 3)"
[ -n "$(bus-topic ls | grep -E '^(pair|steady) ')" ] || note_failure "the topics are gone: $(bus-topic ls)"

finish
