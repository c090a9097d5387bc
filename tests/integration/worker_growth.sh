#!/bin/bash
# Proves: the worker dies at any message that it sends while a ring is replaced by a larger one: everything arrives, the
# ring that was succeeded is closed and freed, and its subscriber is still waited for.
# timeout: 200
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

if ! command -v strace >/dev/null || ! strace -qq true 2>/dev/null; then
  echo "strace is not there, or may not trace"
  exit 77
fi

echo 'keep_rings: 0' >conf.yaml
start_busd --config conf.yaml
traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status"; }
has_lines() { [ "$(wc -l <got)" -ge "$1" ]; }
rings() { [ "$(bus-topic info "$1" --json | grep -o '"rings":[0-9]*')" = "\"rings\":$2" ]; }
head -c 1000000 /dev/zero | tr '\0' x >large
echo >>large

died=0
for n in {1..16}; do
  topic "grown.$n"
  rm -f lines && mkfifo lines
  bus-sub "grown.$n" --raw >got 2>said &
  sub=$!
  wait_for "the subscriber" attached "grown.$n" 1
  bus-pub "grown.$n" --full-time=1s <lines 2>complaints &
  pub=$!
  exec 7>lines
  echo first >&7
  wait_for "the first line" has_lines 1
  pid=$(worker)
  strace -qq -o /dev/null -p "$pid" -e trace=sendmsg -e "inject=sendmsg:signal=KILL:when=$n" 2>/dev/null &
  tracer=$!
  wait_for "strace to attach" traced "$pid"
  cat large >&7
  wait_for "the large line" has_lines 2
  kill -INT $tracer 2>/dev/null
  wait $tracer 2>/dev/null
  kill -0 "$pid" 2>/dev/null || died=$((died + 1))
  # what was succeeded and has been read is over
  wait_for "one ring at $n" rings "grown.$n" 1
  # a subscription that is not waited for would miss most of these
  kill -STOP $sub
  seq 20000 >&7 &
  feeder=$!
  sleep 0.2
  kill -CONT $sub
  wait $feeder
  exec 7>&-
  wait $pub || note_failure "died at $n: bus-pub: $?, $(cat complaints)"
  wait_for "the last line at $n" has_lines 20002
  kill $sub
  wait $sub
  tail -n +3 got | cmp - <(seq 20000) || note_failure "died at $n: not all arrived"
  same "what the subscriber said at $n" '' "$(cat said)"
  bus-topic rm --force "grown.$n"
done
echo "$died deaths"
[ $died -ge 5 ] || note_failure "the worker hardly ever died"
grep -E 'left out of the former|ended with code|signal (6|7|11)' busd.log && note_failure "a worker came to harm"
finish
