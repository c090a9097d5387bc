#!/bin/bash
# The programs of docs/examples do what their first lines say, each run against a busd of its own.
set -u
dir=$TMPDIR
export BUS_SOCKET=$dir/bus.sock
examples=$BUS_BUILD/examples
pids=()

stop_all() {
  trap - EXIT
  kill -CONT "${pids[@]}" 2>/dev/null # who is stopped does not end
  kill "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
}
trap stop_all EXIT

fail() {
  echo "examples: $*"
  tail -n 5 "$dir"/*.err 2>/dev/null
  exit 1
}

# until_true SECONDS WHAT COMMAND...
until_true() {
  local tries=$(($1 * 50)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "$what did not happen in time"
    sleep 0.02
  done
}

# background NAME COMMAND...: its output in NAME.out, messages in NAME.err, its process in $pid
background() {
  local name=$1
  shift
  "$@" >"$dir/$name.out" 2>"$dir/$name.err" &
  pid=$!
  pids+=("$pid")
}

attached() { "$BUS_BUILD/bus-topic" info "$1" --json | grep -qE "\"subscribers\": ?$2[,}]"; }
lines() { [ "$(wc -l <"$dir/$1.out")" -ge "$2" ]; }
expect() { [ "$2" = "$3" ] || fail "$1: expected <$3>, got <$2>"; }
create() { "$BUS_BUILD/bus-topic" create "$@" || fail "cannot create $*"; }

background busd "$BUS_BUILD/busd" --foreground --socket "$BUS_SOCKET" --data-dir "$dir/data"
until_true 10 "busd's start" test -S "$BUS_SOCKET"

# Each source has a test below: one that is added is missed here.
sources=$(cd docs/examples && echo *.c)
expect "programs in docs/examples" "$sources" \
  "batch.c epoll.c in_place.c publisher.c subscriber.c wildcard.c"

# ---- publisher.c, subscriber.c
create greetings
background subscriber "$examples/subscriber"
until_true 10 "the subscriber" attached greetings 1
"$examples/publisher" || fail "publisher failed"
"$examples/publisher" || fail "publisher failed the second time"
until_true 10 "the arrival of both greetings" lines subscriber 2
expect "greetings" "$(cat "$dir/subscriber.out")" $'hello\nhello'
kill "$pid"

# ---- epoll.c: two of them talk
create chat
mkfifo "$dir/anna.in" "$dir/bert.in"
# shellcheck disable=SC2016  # expanded by the inner shell, whose open waits for the other end
background anna bash -c 'exec "$0" chat <"$1"' "$examples/epoll" "$dir/anna.in"
anna=$pid
exec 5>"$dir/anna.in"
# shellcheck disable=SC2016
background bert bash -c 'exec 5>&-; exec "$0" chat <"$1"' "$examples/epoll" "$dir/bert.in"
bert=$pid
exec 6>"$dir/bert.in"
until_true 10 "both in the chat" attached chat 2
echo "hello Bert" >&5
until_true 10 "the first line at Anna's" lines anna 1
until_true 10 "the first line at Bert's" lines bert 1
echo "hello Anna" >&6
until_true 10 "the second line at Anna's" lines anna 2
until_true 10 "the second line at Bert's" lines bert 2
expect "Anna's chat" "$(cat "$dir/anna.out")" $'epoll: hello Bert\nepoll: hello Anna'
expect "Bert's chat" "$(cat "$dir/bert.out")" $'epoll: hello Bert\nepoll: hello Anna'
exec 5>&- 6>&-
wait "$anna" || fail "epoll failed at the end of its input"
wait "$bert" || fail "epoll failed at the end of its input"

# ---- in_place.c: a file of 3 MB and a bit, so that the last message is short and the ring wraps
create files
head -c 3000001 /dev/urandom >"$dir/file"
background copy "$BUS_BUILD/bus-sub" files --timeout=10s --stdout=whole --count=46
copy=$pid
until_true 10 "the reader of files" attached files 1
"$examples/in_place" files <"$dir/file" || fail "in_place failed"
until_true 20 "the whole file" cmp -s "$dir/file" "$dir/copy.out"
wait "$copy" || fail "bus-sub: 3,000,001 bytes were not 46 messages"

# ---- batch.c: more messages than the ring holds, for a reader that stands still at first
create quotes
background quotes "$BUS_BUILD/bus-sub" quotes --timeout=10s --count=5003 -f '%k %h %p\n'
quotes=$pid
until_true 10 "the reader of quotes" attached quotes 1
kill -STOP "$quotes"
background batch "$examples/batch" quotes 5003
batch=$pid
full() { "$BUS_BUILD/bus-stat" topic quotes --json | grep -qE '"refused": ?[1-9]'; }
until_true 10 "the refusal of a message" full
kill -CONT "$quotes"
wait "$batch" || fail "batch failed"
wait "$quotes" || fail "bus-sub failed"
seq 1 5003 | awk '{ printf "item-%d source=batch.c %d\n", $1 % 100, $1 }' >"$dir/want"
cmp "$dir/quotes.out" "$dir/want" || fail "batch: other messages arrived than were sent"

# ---- wildcard.c: topics that appear later, one that does not match, a header, a loss
subscriptions() { "$BUS_BUILD/bus-stat" clients --json | grep -qE "\"subscriptions\": ?1[,}]"; }
background wildcard "$examples/wildcard" 'sensors.*.temperature'
until_true 10 "the subscription of wildcard" subscriptions
publish() { "$BUS_BUILD/bus-pub" --name=thermometer "$@" || fail "bus-pub failed"; }
publish sensors.hall.temperature 21.5 -H unit:C
publish sensors.hall.humidity 40
publish sensors.cellar.temperature 12.25
until_true 10 "both temperatures" lines wildcard 2
expect "temperatures" "$(sort "$dir/wildcard.out")" \
  $'sensors.cellar.temperature 0 from thermometer: 12.25\nsensors.hall.temperature 0 from thermometer: 21.5 C'
kill -STOP "$pid"
publish sensors.attic.temperature 30 --count=5000 --full=fail
kill -CONT "$pid"
until_true 10 "the last of 5000" grep -q 'sensors.attic.temperature 4999 ' "$dir/wildcard.out"
lost=$(sed -nE 's/^\(([0-9]+) lost\) .*attic.*/\1/p' "$dir/wildcard.out" | awk '{ s += $1 } END { print s + 0 }')
shown=$(grep -c attic "$dir/wildcard.out")
expect "shown and lost of 5000" $((shown + lost)) 5000
[ "$lost" -gt 0 ] || fail "wildcard: a stopped lossy subscriber lost nothing of 5000 messages"

echo "six examples ran"
