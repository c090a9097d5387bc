#!/bin/bash
# bus-stat over a busd with real publishers and subscribers: who is slow, whom they hold up, and what
# it says where there is nothing to see.
# shellcheck disable=SC2317  # functions that until_ok calls
set -u
PATH=$BUS_BUILD:$PATH
export BUS_SOCKET=$TMPDIR/bus.sock
fails=0
# shellcheck disable=SC2046  # a list of pids
trap 'kill $(jobs -p) 2>/dev/null' EXIT
bad() { echo "FAILED: $*"; fails=$((fails + 1)); }

# expect CODE COMMAND...: its exit code; output in $out, errors in $err
expect() {
  local want=$1 got
  shift
  "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null
  got=$?
  out=$(<"$TMPDIR/out") err=$(<"$TMPDIR/err")
  [ $got = "$want" ] || bad "$* exited with $got instead of $want: $out $err"
}
# says TEXT...: each regular expression matches the last output
says() {
  local text
  for text in "$@"; do grep -qE -- "$text" <<<"$out" || bad "no /$text/ in: $out"; done
}
complains() { grep -qE -- "$1" <<<"$err" || bad "no /$1/ on stderr: $err"; }
# until SECONDS COMMAND...: retried until it succeeds
until_ok() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}
# field KEY: the first value of that key in the last output
field() { grep -oE "\"$1\":(\"[^\"]*\"|[^],}]*)" <<<"$out" | head -n 1 | cut -d: -f2-; }

# ---- nobody there: said so, and no busd comes into being
unset BUS_SOCKET
for command in '' clients 'topic t' 'peek t' numa 'top --batch' metrics 'latency t'; do
  # shellcheck disable=SC2086  # words
  expect 3 bus-stat $command
  complains '^bus-stat: cannot connect to busd: .'
done
expect 3 bus-stat check
says '^BUS UNKNOWN - '
[ -e "$XDG_RUNTIME_DIR/busd/bus.sock" ] && bad "bus-stat started a busd"
export BUS_SOCKET=$TMPDIR/bus.sock

# ---- wrong usage
expect 2 bus-stat nonsense
expect 2 bus-stat topic
expect 2 bus-stat topic a b
expect 2 bus-stat topic 'a b'
expect 2 bus-stat -n 5
expect 2 bus-stat clients --sort=lag
expect 2 bus-stat check --lag-messages=5,3
expect 2 bus-stat top --batch --sort=nothing
complains ' rate .* worst'
expect 2 bus-stat top
complains -- '--batch'
expect 2 bus-stat groups
expect 2 bus-stat services
expect 2 bus-stat segment
expect 0 bus-stat -h
says '^usage: bus-stat' 'lag-messages'
expect 0 bus-stat --version

# ---- an empty bus
busd --foreground --socket "$BUS_SOCKET" 2>"$TMPDIR/busd.log" &
until_ok 10 bus-stat || { cat "$TMPDIR/busd.log"; bad "no busd"; exit 1; }
expect 0 bus-stat
says '^busd [0-9.]+ pid [0-9]+ .* 1 client ' '^no topics$'
expect 0 bus-stat --json
[ "$out" = '[]' ] || bad "empty bus is $out"
expect 0 bus-stat check
says '^BUS OK - 0 topics'
expect 1 bus-stat topic t
complains 'no such topic'
expect 1 bus-stat peek t
complains 'no topic "t"'
expect 3 bus-stat check t
expect 3 bus-stat check 'a..b'

# ---- one slow subscriber, a publisher that waits for it, one that keeps up, one that does not care
bus-topic create prices --slots=1024 || bad "the topic cannot be made"
bus-sub prices --name slow >/dev/null & slow=$!
bus-sub prices --name quick >/dev/null &
bus-sub 'prices' --lossy --name lossy >/dev/null &
subs_are() { [ "$(bus-stat clients --json | grep -o '"subscriptions":1' | wc -l)" = "$1" ]; }
until_ok 10 subs_are 3 || bad "subscribers did not come"
kill -STOP $slow
# it blocks, and evicts nobody
bus-pub prices 'price {{Count}}' --count 100000 --name feed --full=block 2>"$TMPDIR/feed" & feed=$!
is_blocked() { bus-stat topic prices --json | grep -q '"blocked":1'; }
until_ok 10 is_blocked || bad "no publisher is blocked: $(cat "$TMPDIR/feed")"

expect 0 bus-stat
says '^TOPIC +MSG/S +BYTE/S +PUB +SUB +FILL +LAG' \
  "^prices .* 1 +3 +100% +1.02k +[0-9.]+ (ms|s) .* 1 slow\\[$slow\\]" \
  "^prices: feed\\[$feed\\] has been blocked for .* by slow\\[$slow\\] .* 1.02k messages behind"
grep -q $'\033' "$TMPDIR/out" && bad "colour on a pipe"
expect 0 bus-stat topic prices
says "^feed +$feed +$(id -un) +1.02k .*100%.* slow\\[$slow\\]" \
  "^slow +$slow +$(id -un) reliable +0 1.02k .* 1 " \
  '^quick .* reliable ' '^lossy .* lossy '
expect 0 bus-stat topic prices --json
[ "$(field messages)" = 1024 ] || bad "messages: $(field messages)"
[ "$(field lag_messages)" = 1024 ] || bad "lag_messages: $(field lag_messages)"
says '"publishers":\[\{' '"subscribers":\[\{' \
  "\"blocked_by\":\\{\"id\":[0-9]+,\"pid\":$slow,\"name\":\"slow\",\"uid\":$(id -u)," \
  "\"pid\":$slow,\"name\":\"slow\",\"uid\":$(id -u),[^{}]*\"policy\":\"reliable\",\"lag_messages\":1024,[^{}]*\"holds\":1," \
  '"name":"lossy",[^{}]*"policy":"lossy",[^{}]*"holds":0,' \
  '"used_ratio":1\.0' '"blocked":true'
# What JSON calls its figures is what the table of metrics says.
topic_json=$out
expect 0 bus-stat namespaces --json
topic_json+=$out
expect 0 bus-stat numa --json
for key in $(printf '%s\n' '#include "format/metric_table.h"' '#define ROW(i, f, t, u, key, l, h) KEY key' \
  'METRIC_TABLE(ROW)' | gcc -E -P -I libbus - | tr -d '\n' | grep -o 'KEY "[a-z_]*"' | tr -d 'KEY "' | sort -u); do
  grep -q "\"$key\":" <<<"$topic_json $out" || bad "no \"$key\" in JSON"
done

expect 0 bus-stat check --lag-messages=2000
says '^BUS OK - prices: slow\[' ' \| lag_messages=1024;;2000;0 lag_seconds=[0-9.]+s;;;0 lost=[0-9]+c blocked=1;'
expect 1 bus-stat check --lag-messages=1023,2000
says '^BUS WARNING - prices: slow\[.* is 1024 messages, '
expect 2 bus-stat check --lag-messages=100,1023 prices
says '^BUS CRITICAL - '
expect 2 bus-stat check --lag-seconds=1ms
says '^BUS CRITICAL - '
expect 1 bus-stat check --lag-seconds=1ms,1h
expect 0 bus-stat check --lag-messages=1024 --lag-seconds=1h
expect 0 bus-stat check --lag-messages=1024,2000

expect 0 bus-stat peek prices -n 3
says '^1021 +20[0-9TZ.:-]+ +feed\[[0-9]+\] .* price 1022$' '^1023 '
[ "$(wc -l <"$TMPDIR/out")" = 4 ] || bad "peek -n 3 printed $(wc -l <"$TMPDIR/out") lines"
expect 0 bus-stat peek prices -n 1 --json
says '^\[\{"topic":"prices","seq":1023,.*"publisher":\{[^}]*"name":"feed".*"len":10,"payload":"price 1024"\}\]$'
expect 0 bus-stat clients
says "^ *[0-9]+ +$slow +[^ ]+ +bus-sub +bus-sub +0 +1 " "^ *[0-9]+ +$feed +[^ ]+ +bus-pub +bus-pub +1 +0 "
expect 0 bus-stat numa
says '^prices +auto +feed +[0-9]+ +[0-9]+ (KiB|MiB) +0: [0-9]+ (KiB|MiB) +'

expect 0 bus-stat metrics
[ "$(tail -n 1 "$TMPDIR/out")" = '# EOF' ] || bad "metrics do not end with # EOF"
says "^bus_subscriber_holds\\{topic=\"prices\",subscriber=\"slow\",pid=\"$slow\"\\} 1$" \
  "^bus_publish_blocked\\{topic=\"prices\",publisher=\"feed\",pid=\"$feed\"\\} 1$" \
  '^bus_clients 5$'

# ---- top
expect 0 bus-stat top --batch --count=2 -d 100ms --list=subscribers --sort=lag
[ "$(grep -c '^TOPIC' "$TMPDIR/out")" = 2 ] || bad "top --count=2 printed $(grep -c '^TOPIC' "$TMPDIR/out") screens"
grep -A 1 '^TOPIC' "$TMPDIR/out" | grep -q '^prices slow ' || bad "top: the slowest is not first: $out"
expect 0 bus-stat top --batch --count=1 -d 100ms --list=publishers --json
says '^\[\{"id":[0-9]+,.*"topic":"prices"'
# On a terminal it draws, obeys keys, and leaves at q.
(sleep 1; printf s; sleep 0.5; printf q) |
  TERM=xterm timeout 20 script -qec 'stty rows 20 cols 90; bus-stat top -d 200ms' /dev/null >"$TMPDIR/screen" 2>&1
code=${PIPESTATUS[1]}
[ "$code" = 0 ] || bad "top on a terminal exited with $code"
for text in 'TOPIC' 'q quit' 'SUBSCRIBER' 'been blocked'; do
  grep -qa "$text" "$TMPDIR/screen" || bad "top on a terminal does not show \"$text\""
done

# ---- it goes on: nobody is held up, everything arrives
kill -CONT $slow
until_ok 20 bash -c "! kill -0 $feed" || bad "the publisher did not end"
no_lag() { bus-stat topic prices --json | grep -q '"lag_messages":0,"lag_seconds":0.0'; }
until_ok 10 no_lag || bad "lag remains: $(bus-stat topic prices)"
expect 0 bus-stat topic prices --json
[ "$(field messages)" = 100000 ] || bad "messages: $(field messages)"
says '"name":"slow",[^{}]*"delivered":100000,' '"name":"quick",[^{}]*"delivered":100000,[^{}]*"lost":0,'
# What the lossy one read and lost adds up, also after the publisher has gone.
read -r delivered lost < <(grep -oE '"name":"lossy",[^{}]*' <<<"$out" |
  sed -E 's/.*"delivered":([0-9]+).*"lost":([0-9]+).*/\1 \2/')
[ $((delivered + lost)) = 100000 ] || bad "the lossy one read $delivered and lost $lost of 100000"

# ---- latency
bus-pub ticks 'x' --count 100000 --rate 500 --name ticker & ticker=$!
until_ok 10 bus-stat topic ticks || bad "no ticks"
expect 0 bus-stat latency ticks -d 500ms
says '^[0-9]+ messages, 0 lost$' '^p50 [0-9.]+ (ns|us|ms)  p90 .*  p99 .*  max '
expect 0 bus-stat latency ticks -d 500ms --json
if [ "$(field p50)" = 0.0 ] || [ "$(field too_early)" != 0 ]; then bad "latency: $out"; fi
kill $ticker
expect 3 bus-stat latency nothing -d 100ms

exit $((fails > 0))
