#!/bin/bash
# Proves: the worker dies at its Nth system call of a kind, for every N that one round of opening, sending, growing,
# evicting nobody and closing needs: the round is done by the next worker, each message arrives once, and nothing of
# it is left.
# timeout: 300
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

if ! command -v strace >/dev/null || ! strace -qq true 2>/dev/null; then
  echo "strace is not there, or may not trace"
  exit 77
fi

start_busd
topic kept

traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status"; }

# trace CALL N: the worker will die at that call; no, where it was dying already
trace() {
  pid=$(worker)
  strace -qq -o /dev/null -p "$pid" -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" &
  tracer=$!
  until traced "$pid"; do
    kill -0 $tracer || return
    sleep 0.01
  done
}

# round N: what a publisher and a subscriber of a topic of their own do
round() {
  local topic=round.$1 rc
  bus-topic create "$topic" || echo "create: $?"
  timeout 30 bus-sub "$topic" --raw --from=oldest --count=4 >got 2>said &
  local sub=$!
  for _ in {1..500}; do
    attached "$topic" 1 && break
    sleep 0.01
  done
  seq 3 | timeout 30 bus-pub "$topic" || echo "bus-pub: $?"
  timeout 30 bus-pub "$topic" --size=1M || echo "bus-pub of a large one: $?"
  wait $sub
  rc=$?
  [ $rc -eq 0 ] || echo "bus-sub: $rc, $(cat said)"
  [ "$(head -n 3 got)" = "$(seq 3)" ] || echo "got: $(head -c 100 got)"
  bus-topic rm --force "$topic" || echo "rm: $?"
}

rounds=0
for call in ${BUS_TEST_CALLS:-sendmsg fcntl fallocate epoll_ctl}; do
  for ((n = 1; n < 200; n += ${BUS_TEST_STEP:-3})); do
    wait_for "strace to attach" trace "$call" "$n"
    failed=$(round "$call.$n" 2>&1)
    [ -z "$failed" ] || note_failure "the worker died at $call $n: $failed"
    rounds=$((rounds + 1))
    if kill -0 "$pid" 2>/dev/null; then # that many were not needed
      kill -INT $tracer 2>/dev/null
      wait $tracer 2>/dev/null
      break
    fi
    wait $tracer 2>/dev/null
    [ $failures -lt 5 ] || break 2
  done
done
echo "$rounds rounds, $(grep -c 'was killed by signal 9' busd.log) deaths"
[ "$(grep -c 'was killed by signal 9' busd.log)" -ge 20 ] || note_failure "the worker hardly ever died"
same "topics" kept "$(bus-topic ls | sed -n '2,$s/ .*//p')"
grep 'ended with code' busd.log && note_failure "a worker came to harm by itself: $(grep -A 12 ERROR: busd.log | head -n 20)"
grep -q 'left out of the former' busd.log && note_failure "registry: $(grep 'left out' busd.log | head -n 3)"
finish
