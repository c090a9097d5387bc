#!/bin/bash
# Proves: the worker dies at any message that it sends while a subscription joins two topics at once: it is waited for by
# the publishers of both.
# timeout: 200
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

if ! command -v strace >/dev/null || ! strace -qq true 2>/dev/null; then
  echo "strace is not there, or may not trace"
  exit 77
fi

start_busd
traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status"; }
has_lines() { [ "$(wc -l <got)" -ge "$1" ]; }

died=0
for n in {1..16}; do
  rm -f one two && mkfifo one two
  topic "j$n.one" "j$n.two"
  bus-pub "j$n.one" --full-time=2s <one 2>complaints.one &
  pubs=($!)
  bus-pub "j$n.two" --full-time=2s <two 2>complaints.two &
  pubs+=($!)
  exec 7>one 8>two
  for name in one two; do
    wait_for "the publishers" eval "bus-topic info j$n.$name --json | grep -q '\"publishers\":1'"
  done
  pid=$(worker)
  strace -qq -o /dev/null -p "$pid" -e trace=sendmsg -e "inject=sendmsg:signal=KILL:when=$n" 2>/dev/null &
  tracer=$!
  wait_for "strace to attach" traced "$pid"
  bus-sub "j$n.*" -f "%t %p\\n" >got 2>said 7>&- 8>&- &
  sub=$!
  for name in one two; do wait_for "the subscriber" attached "j$n.$name" 1; done
  kill -INT $tracer 2>/dev/null
  wait $tracer 2>/dev/null
  kill -0 "$pid" 2>/dev/null || died=$((died + 1))
  echo first >&7
  echo first >&8
  wait_for "the first lines" has_lines 2
  # who is not waited for misses most of these
  kill -STOP $sub
  seq 20000 >&7 &
  feeders=($!)
  seq 20000 >&8 &
  feeders+=($!)
  sleep 0.2
  kill -CONT $sub
  wait "${feeders[@]}"
  exec 7>&- 8>&-
  for pub in "${pubs[@]}"; do wait "$pub" || note_failure "died at $n: bus-pub: $?, $(cat complaints.*)"; done
  wait_for "the last lines at $n" has_lines 40002
  kill $sub
  wait $sub
  for name in one two; do
    sed -n "s/^j$n.$name //p" got | cmp - <(echo first; seq 20000) || note_failure "died at $n: not all of $name"
  done
  same "what the subscriber said at $n" '' "$(cat said)"
  bus-topic rm --force "j$n.one"
  bus-topic rm --force "j$n.two"
done
echo "$died deaths"
[ $died -ge 5 ] || note_failure "the worker hardly ever died"
grep -E 'left out of the former|ended with code|signal (6|7|11)' busd.log && note_failure "a worker came to harm"
finish
