#!/bin/bash
# Proves: a private busd that is killed with all it has is started again by the first client that notices, one for all;
# bus-pub and bus-sub go on without a word, and not a message is missing; a busd that is started at once waits for the
# end of the former one's worker.
# timeout: 120
. tests/integration/lib_tools.sh
if [ -e /run/busd/bus.sock ]; then
  echo "this machine has a busd at /run/busd/bus.sock: clients would find it"
  exit 77
fi

daemons() { pgrep -f -- "busd .*--socket $1( |\$)"; }
one_daemon() { [ "$(daemons "$sock" | wc -l)" = 1 ]; }
got() { [ "$(wc -l <"$1")" -ge "$2" ]; }
known() { [ "$(bus-stat topic "$1" --json 2>/dev/null | grep -o '"pid":' | wc -l)" = "$2" ]; }
subscribed() { [ "$(bus-stat clients --json 2>/dev/null | grep -o '"subscriptions":1' | wc -l)" = "$1" ]; }

# ---- private
(
  unset BUS_SOCKET BUS_AUTOSTART
  export XDG_RUNTIME_DIR=$TMPDIR/private BUS_PRIVATE_IDLE_MS=4000
  mkdir -m 700 "$XDG_RUNTIME_DIR"
  sock=$XDG_RUNTIME_DIR/busd/bus.sock
  bus-sub p --raw >p.got 2>p.sub &
  sub=$!
  wait_for "the subscriber" subscribed 1
  mkfifo p.in
  bus-pub p <p.in 2>p.pub &
  pub=$!
  exec 5>p.in
  seq 1 100 >&5
  wait_for "messages" got p.got 100
  for round in 1 2 3; do
    kill -9 "$(cat "$sock.lock")"
    for i in {0..9}; do
      seq $((round * 100 + i * 10 + 1)) $((round * 100 + i * 10 + 10))
      sleep 0.1
    done >&5
    wait_for "both at a busd that nobody started" known p 2
    # both may have started one: whichever came second finds the lock taken, and leaves
    wait_for "one busd only" one_daemon
  done
  exec 5>&-
  wait $pub || note_failure "bus-pub: exit code $?"
  wait_for "the last message" got p.got 400
  kill $sub
  wait $sub
  same "what came through" "$(seq 400)" "$(cat p.got)"
  same "what they said" '' "$(cat p.pub p.sub)"
  [ -e "$sock.lock" ] && kill "$(cat "$sock.lock")"
  finish
) || note_failure "a private busd"

# ---- a service: started at once after the kill, as a service manager would
start_busd
topic s
bus-sub s --raw >s.got 2>s.sub &
sub=$!
wait_for "the subscriber" attached s 1
mkfifo s.in
bus-pub s <s.in 2>s.pub &
pub=$!
exec 5>s.in
seq 1 10 >&5
wait_for "messages" got s.got 10
for _ in 1 2 3; do
  kill -KILL "$busd"
  busd --foreground --socket "$BUS_SOCKET" 2>>again.log 5>&- &
  wait "$busd" 2>/dev/null
  busd=$!
  wait_for "busd" bus-topic ls
  bus-topic create "after.$busd" >/dev/null || note_failure "no topic"
  sleep 0.3
done
seq 11 2000 >&5
wait_for "the publisher and its subscriber" known s 2
exec 5>&-
wait $pub || note_failure "bus-pub: exit code $?"
wait_for "the last message" got s.got 2000
same "what came through" "$(seq 2000 | sha256sum)" "$(sha256sum <s.got)"
same "what they said" '' "$(cat s.pub s.sub)"
grep -q 'somebody listens' again.log && note_failure "busd did not wait: $(cat again.log)"

kill $sub
wait $sub 2>/dev/null
finish
