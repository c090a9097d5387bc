#!/bin/bash
# Proves: with keeper and worker killed, bus-stat shows root what living processes still map: publishers and
# subscribers with pid and name, figures that move, lag; who has gone as gone; only what belongs to the socket, and of two
# busds that listened there one after another both. Each command says that busd is dead and exits with 3 (check: 2). A
# worker that stands still is no more than a short delay. Others than root get a sentence. Whoever maps something with our
# names, too short, cut, nonsense, or a board that is a lie in all its words, hurts nobody.
# timeout: 240
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

[ "$(id -u)" -eq 0 ] || { echo "needs root, as what it tests does"; exit 77; }
command -v setpriv >/dev/null || { echo "needs setpriv (package util-linux)"; exit 77; }
nobody=41003
shared=$(mktemp -d /tmp/bus-without.XXXXXX) || exit 1
# shellcheck disable=SC2046  # a list of pids
trap 'kill -9 $(jobs -p) 2>/dev/null; rm -rf "$shared"' EXIT
chmod 755 "$shared"
cp "$BUS_BUILD"/bus-* "$BUS_BUILD"/libbus.so* "$BUS_BUILD/busd" "$BUS_BUILD/tests/progs/forged_boards" "$shared"
ln -s "$shared" way
mkfifo hold
exec 7<>hold # what publishers read who say nothing
probe=$(bus-stat --socket "$shared/none" 2>&1)
grep -q 'for root to see' <<<"$probe" && { echo "this root may not open what others have mapped: $probe"; exit 77; }

# run_busd NAME: on that socket, its pid in $busd
run_busd() {
  export BUS_SOCKET=$shared/$1
  busd --foreground --socket "way/$1" 2>>busd.log &
  busd=$!
  disown $busd
  wait_for "busd to serve" bus-topic ls
}
# kill_busd: all of it
kill_busd() {
  local pid
  pid=$(worker)
  kill -KILL "$busd" "$pid"
  wait_for "the worker's end" gone "$pid"
  wait_for "the keeper's end" gone "$busd"
}
gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.*Z' "/proc/$1/status"; }
# key KEY: the first value of that key in what the last expect_json said
key() { grep -oE "\"$1\":(\"[^\"]*\"|[^],}]*)" <<<"$json" | head -n 1 | cut -d: -f2-; }
# look ARGUMENTS...: JSON in $json
look() {
  json=$(timeout 20 bus-stat "$@" --json 2>/dev/null)
  [ $? -eq 3 ] || note_failure "bus-stat $*: not exit code 3"
}

run_busd one
topic t
bus-pub t 'message {{Count}}' --name writer --count=100000000 --rate=1000 2>pub.err &
pub=$!
bus-sub t --raw --name reader >/dev/null 2>sub.err & # in the background: $! is the program
sub=$!
wait_for "the subscriber" attached t 1

# ---- the worker stands still: a short delay for root, an error for others
pid=$(worker)
kill -STOP "$pid"
began=$SECONDS
expect 3 "^busd at $shared/one does not answer \(pid $busd root.* its worker lives.*living processes" bus-stat
[ $((SECONDS - began)) -le 8 ] || note_failure "bus-stat took $((SECONDS - began)) s beside a worker that stands still"
look topic t
same "busd's state" '"silent"' "$(key busd)"
kill -CONT "$pid"
expect 0 '^busd [0-9.]+ ' bus-stat

# ---- all of busd is dead
kill_busd
dead="busd at $shared/one is dead \(pid $busd root"
expect 3 "^$dead, started .* ago\): this is what [23] living processes still map  1 topic" bus-stat
look
same "busd's state" '"dead"' "$(key busd)"
same "its pid" "$busd" "$(key busd_pid)"
look topic t
grep -q "\"publishers\":\[{[^]]*\"pid\":$pub,\"name\":\"writer\",\"uid\":0,\"user\":\"root\"" <<<"$json" ||
  note_failure "no publisher $pub: $json"
grep -q "\"subscribers\":\[{[^]]*\"pid\":$sub,\"name\":\"reader\",\"uid\":0,\"user\":\"root\"" <<<"$json" ||
  note_failure "no subscriber $sub: $json"
grep -q '"gone":true' <<<"$json" && note_failure "somebody is gone: $json"
first=$(key messages)
[ "$(key messages_per_second | cut -d. -f1)" -gt 0 ] || note_failure "no rate: $json"
sleep 0.2
look topic t
[ "$(key messages)" -gt "$first" ] || note_failure "messages stood at $first, then at $(key messages)"
kill -STOP $sub
sleep 0.5
look topic t
lag=$(key lag_messages)
[ "$lag" -gt 50 ] || note_failure "lag of $lag behind a subscriber that stands still: $json"
kill -CONT $sub
caught_up() { look topic t && [ "$(key lag_messages)" -lt "$lag" ]; }
wait_for "the subscriber to catch up" caught_up
expect 3 "^$dead.*" bus-stat topic t
expect 3 "$pub root +writer" bus-stat clients
look clients
same "clients" 2 "$(grep -o '"gone":false' <<<"$json" | wc -l)"
expect 3 'writer\[[0-9]+\] +[0-9]+ - +message [0-9]+$' bus-stat peek t
expect 3 "$dead" bus-stat peek t --json
expect 3 "^t .* writer " bus-stat numa
expect 3 "^$dead.*" bus-stat top --batch --count=1 --list=publishers
expect 3 '^bus_up 0$' bus-stat metrics
expect 3 '^bus_topic_publishers\{topic="t"\} 1$' bus-stat metrics
expect 2 "^BUS CRITICAL - $dead.*; (1 topic, |t: reader).*lag_messages=" bus-stat check
expect 3 'UNKNOWN' bus-stat check nothing
expect 1 'no such topic' bus-stat topic nothing
expect 3 'cannot connect to busd' bus-stat latency t

# ---- others than root: what failed, why, what to do
chmod 666 "$BUS_SOCKET"
as_nobody() { setpriv --reuid=$nobody --regid=$nobody --clear-groups "$@"; }
expect 3 'no busd listens at .*; what living processes still map of it is for root to see .*look as root' \
  as_nobody "$shared/bus-stat"
expect 3 '^BUS UNKNOWN - no busd listens at .* for root to see' as_nobody "$shared/bus-stat" check

# ---- hostile neighbours: of another user not believed, of root itself harmless
(exec setpriv --reuid=$nobody --regid=$nobody --clear-groups "$shared/forged_boards" "$shared/one") >ready.other &
forger=$!
wait_for "the forger" grep -q ready ready.other
look
grep -q forged <<<"$json" && note_failure "another user's board was believed: $json"
grep -q '"name":"writer"' <<<"$json" || note_failure "a forger hides what is there: $json"
kill -9 $forger
"$shared/forged_boards" "$shared/one" >ready.root &
forger=$!
wait_for "the forger" grep -q ready ready.root
for ((i = 0; i < 4; i++)); do
  for command in '' clients 'topic t' 'topic forged.topic' 'peek forged.topic' numa 'top --batch --count=1' metrics check; do
    # shellcheck disable=SC2086  # words
    timeout 20 bus-stat $command >hostile.out 2>&1
    code=$?
    [ $code -le 3 ] || note_failure "bus-stat $command beside a forger: code $code, $(head -c 300 hostile.out)"
  done
done
look topic forged.topic
[ -n "$(key topic)" ] || note_failure "root's own forgery is not shown: nothing of this was tested"
look topic t
same "the publisher's pid beside a forger" "$pub" "$(key pid)"
kill -9 $forger

# ---- another busd, at another socket: neither shows what is the other's
first_busd=$busd
run_busd two
topic other
bus-pub other --name elsewhere <hold &
elsewhere=$!
shows() { bus-stat topic other --json | grep -q '"name":"elsewhere"'; }
wait_for "the other publisher" shows
expect 0 '^busd ' bus-stat
kill_busd
look
grep -q '"topic":"other"' <<<"$json" || note_failure "topic other is missing: $json"
grep -q '"topic":"t"' <<<"$json" && note_failure "what is of socket one is shown for two: $json"
export BUS_SOCKET=$shared/one
look
grep -q '"topic":"other"' <<<"$json" && note_failure "what is of socket two is shown for one: $json"

# ---- one more at the same socket: what both left is shown, and whose it is
kill -STOP $pub $sub # or they would come to that one
run_busd one
topic t
bus-pub t --name second <hold &
second=$!
shows() { bus-stat topic t --json | grep -q '"name":"second"'; }
wait_for "the second publisher" shows
kill_busd
expect 3 'of 2 busds that listened there  2 topics' bus-stat
expect 3 "^t#$first_busd " bus-stat
expect 3 "^t#$busd " bus-stat
look topic t
same "the youngest one's publisher" "$second" "$(key pid)"
expect 3 "^bus_topic_publishers\{topic=\"t#$first_busd\"\} 1\$" bus-stat metrics

# ---- who dies now is gone, and nobody clears up
kill -KILL $sub
wait_for "the subscriber's end" gone $sub
expect 3 'reader.*\(has gone\)' bus-stat top --batch --count=1 --list=subscribers
kill -KILL $pub
wait_for "the publisher's end" gone $pub
kill -KILL $second $elsewhere
nothing() { bus-stat 2>&1 | grep -q 'no living process has mapped anything'; }
wait_for "nothing to be left" nothing
expect 3 'no busd listens at' bus-stat
busd=
finish
