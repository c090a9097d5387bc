#!/bin/bash
# Proves: a durable subscription goes on where it stood, whatever kills its reader or busd's worker: nothing is passed
# over, and what was written out and acknowledged does not come again. One process holds a name at a time, and a dead
# one holds none. After the loss of all of busd its position is what was settled, or more, and never more than was read.
# Positions are shown, and moved only by --execute and while nobody holds them. Live topics and streams in memory refuse.
# timeout: 180
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

# position TOPIC NAME KEY
position() {
  bus-topic positions "$1" --json | python3 -c '
import json, sys
for o in json.load(sys.stdin):
    if o.get("name") == sys.argv[1]:
        print(o[sys.argv[2]])' "$2" "$3"
}
position_is() { [ "$(position "$1" "$2" "$3")" = "$4" ]; }
has_lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }

start_busd
bus-topic create t --stream || exit 1
seq 1 20000 >lines
bus-pub t --stdin=lines --wait=durable <lines

# ---- goes on
same "the first four" "1 2 3 4" "$(bus-sub t --durable=a --from=oldest --count=4 | xargs)"
same "a start is for the first time" "5 6" "$(bus-sub t --durable=a --from=oldest --count=2 | xargs)"
same "another name begins anew" "1" "$(bus-sub t --durable=b --from=oldest --count=1)"
later=time:$(date -u -d '+1 hour' +%FT%TZ)
same "a time to start at, too" "2 3" "$(bus-sub t --durable=b --from="$later" --count=2 --timeout=5s | xargs)"
same "at the end" "" "$(bus-sub t --durable=c --timeout=50ms 2>/dev/null)"
same "shown" "6 19994 False" "$(position t a seq) $(position t a lag_messages) $(position t a held)"
bus-topic positions t | grep -q '^a .* 6 .*20.0k' || note_failure "as a table: $(bus-topic positions t)"

# ---- bytes that are no UTF-8
same "a name of bytes" 1 "$(bus-sub t --durable=$'caf\xe9' --from=oldest --count=1)"
expect 0 '"name_base64": ?"Y2Fm6Q=="' bus-topic positions t --json
expect 0 '"name_base64": ?"Y2Fm6Q==", ?"uid"' bus-stat topic t --json
expect 0 'deleted' bus-topic position t $'caf\xe9' --delete --execute

# ---- absent ones are shown, too
bus-stat topic t | grep -A9 '^durable subscriptions' | grep -q '^a .* 6 ' || note_failure "bus-stat topic: $(bus-stat topic t)"
bus-stat topic t --json | grep -q '"name":"a","uid":0,[^}]*"lag_messages":19994' || note_failure "bus-stat topic --json: $(bus-stat topic t --json)"
bus-stat metrics >metrics
grep -q '^bus_subscriber_lag_messages{topic="t",subscriber="a",pid="0"} 19994$' metrics || note_failure "metrics: $(grep lag_messages metrics)"
age=$(sed -n 's/^bus_subscriber_lag_seconds{topic="t",subscriber="a",pid="0"} //p' metrics)
[ "$(python3 -c "print(0 < $age < 300)")" = True ] || note_failure "lag in seconds: $age"

# ---- the reader is killed again and again
: >got
for ((round = 0; round < 12; round++)); do
  before=$(wc -l <got)
  [ "$before" -lt 17000 ] || break
  bus-sub t --durable=killed --from=oldest --rate=4k >>got 2>sub.err &
  reader=$!
  wait_for "some lines" has_lines got $((before + 500))
  kill -KILL $reader
  wait $reader 2>/dev/null
done
bus-sub t --durable=killed --from=now --timeout=300ms >>got 2>sub.err
grep -q lost sub.err && note_failure "messages were lost: $(cat sub.err)"
cmp -s <(sort -n got | uniq) lines || note_failure "killed readers missed lines: $(sort -n got | uniq | wc -l) of 20000"
# what a reader had written and not acknowledged when it died comes again: a write's worth each time
twice=$(($(wc -l <got) - 20000))
[ $twice -lt 12000 ] || note_failure "$twice lines came twice"

# ---- killed while its output is full: what did not get there is not acknowledged
mkfifo pipe
bus-sub t --durable=full --from=oldest >pipe &
reader=$!
exec 3<pipe
wait_for "the holder" position_is t full held True
sleep 0.5
kill -KILL $reader
wait $reader 2>/dev/null
cat <&3 >pipe.out
exec 3<&-
[ "$(wc -l <pipe.out)" -lt 20000 ] || note_failure "the pipe held all of it"
[ "$(position t full seq)" -le "$(wc -l <pipe.out)" ] || note_failure "acknowledged are $(position t full seq) lines, written were $(wc -l <pipe.out)"

# ---- one at a time; a dead one's place is free at once
bus-sub t --durable=one --from=oldest >one.out 2>&1 &
reader=$!
wait_for "the holder" position_is t one seq 20000
expect 1 "held by \"bus-sub\" \(pid $reader, uid [0-9]+\)" bus-sub t --durable=one
same "who holds it" "{'name': 'bus-sub', 'pid': $reader, 'uid': $(id -u)}" "$(position t one holder)"
kill -KILL $reader
expect 3 'nothing came' bus-sub t --durable=one --timeout=50ms

# ---- the worker dies: the holder goes on, and nobody else gets it
bus-sub t --durable=w >w.out 2>w.err &
reader=$!
wait_for "the holder" position_is t w held True
for _ in 1 2 3; do
  kill_worker
  bus-pub t worker --count=1000 --wait=durable
  expect 1 'held by' bus-sub t --durable=w
done
wait_for "the messages" has_lines w.out 3000
at=$(position t w seq)
same "the position after three workers" 23000 "$at"
kill -TERM $reader
wait $reader 2>/dev/null
same "after an ordinary end" "23000 False" "$(position t w seq) $(position t w held)"
# the reader dies while there is no worker
bus-sub t --durable=w >w.out 2>w.err &
reader=$!
wait_for "the holder" position_is t w held True
no_worker
kill -KILL $reader
a_worker_again
wait_for "the place to be free" position_is t w held False
same "messages of nobody" "" "$(bus-sub t --durable=w --timeout=50ms 2>/dev/null)"

# ---- moved: dry, held, done
same "before" 6 "$(position t a seq)"
expect 0 'from message 6 to message 0$' bus-topic position t a --to=oldest
expect 0 '6 messages would be repeated: 0 to 5' bus-topic position t a --to=oldest
expect 0 '94 messages would be passed over: 6 to 99' bus-topic position t a --to=seq:100
expect 0 'nothing is changed: --execute does it' bus-topic position t a --skip=5
expect 0 'would be deleted' bus-topic position t a --delete
same "a dry run changes nothing" 6 "$(position t a seq)"
expect 0 '10 messages are passed over: 6 to 15' bus-topic position t a --skip=10 --execute
same "after skipping" "17 18" "$(bus-sub t --durable=a --count=2 | xargs)"
expect 0 'are repeated' bus-topic position t a --to seq:2 --execute
same "after going back" 3 "$(bus-sub t --durable=a --count=1)"
expect 1 'has 22997 before it' bus-topic position t a --skip=30000 --execute
expect 1 "next message is 23000" bus-topic position t a --to=seq:23001 --execute
bus-sub t --durable=a --rate=1 >held.out 2>/dev/null &
reader=$!
wait_for "the holder" position_is t a held True
expect 0 "nothing is changed: it is held by bus-sub \(pid $reader" bus-topic position t a --to=now
expect 1 "is held by" bus-topic position t a --to=now --execute
expect 1 "is held by" bus-topic position t a --delete --execute
wait_for "a message" has_lines held.out 1
kill -TERM $reader
wait $reader 2>/dev/null
same "held meanwhile" 4 "$(head -n 1 held.out)"
same "where that stood" $((3 + $(wc -l <held.out))) "$(position t a seq)"
expect 0 'to message 23000' bus-topic position t a --to=now --execute
expect 0 'is deleted: it stood at message 23000' bus-topic position t a --delete --execute
same "deleted" "" "$(position t a seq)"
expect 1 'there is none' bus-topic position t a
expect 0 'new, at message 7' bus-topic position t fresh --to=seq:7 --execute
same "made beforehand" 8 "$(bus-sub t --durable=fresh --count=1)"
# by time: all came before now, and after an hour ago
expect 0 'to message 0$' bus-topic position t fresh --to -1h
expect 0 'to message 23000$' bus-topic position t fresh --to=time:"$(date -u -d '+1 hour' +%FT%TZ)"
middle=$(bus-sub t --durable=m --from=seq:20000 --count=1 -f '%T')
expect 0 'to message 20000$' bus-topic position t fresh --to=time:"$middle"
expect 2 'is not seq:N' bus-topic position t a --to=there
expect 2 'to' bus-topic position t a --to=time:noon
expect 0 'to message 22990$' bus-topic position t fresh --to=-10
expect 2 'exclude each other' bus-topic position t a --to=now --delete
expect 2 'execute: what' bus-topic position t a --execute

# ---- refused
expect 1 'no stream "nothing"' bus-sub nothing --durable=x
bus-topic create live && expect 1 'is live: nothing is kept' bus-sub live --durable=x
bus-topic create memory --stream --sync=memory && expect 1 'in memory only' bus-sub memory --durable=x
expect 2 'may match several' bus-sub 't.*' --durable=x
expect 2 '1 to 63 bytes' bus-sub t --durable="$(printf '%064d' 0)"
expect 2 'no control characters' bus-sub t --durable=$'a\nb'

# ---- all of busd is killed
bus-sub t --durable=all --from=seq:3000 --rate=2k >all.out 2>/dev/null &
reader=$!
wait_for "some of it" has_lines all.out 2000
low=$(position t all kept_seq)
kill -STOP $reader
kill_all
read_=$(($(wc -l <all.out) + 3000))
kill -KILL $reader
start_busd
at=$(position t all seq)
if [ "$at" -lt "$low" ] || [ "$at" -gt "$read_" ] || [ "$at" -le 3000 ]; then
  note_failure "after the loss of busd it is at $at: on disk was $low, read were messages below $read_"
fi
bus-sub t --durable=all --timeout=300ms >>all.out 2>all.err
grep -q 'lost' all.err && note_failure "after the loss of busd: $(cat all.err)"
cmp -s <(grep -v worker all.out | sort -n | uniq) <(seq 3001 20000) || note_failure "from disk came $(grep -v worker all.out | sort -n | uniq | wc -l) lines, not 17000"
same "at the end" 23000 "$(position t all seq)"
same "others" "23000 False" "$(position t w seq) $(position t w held)"
same "the removed one" "" "$(position t a seq)"

# ---- stopped in order: to the message
bus-pub t again --count=5 --wait=durable >/dev/null
bus-sub t --durable=stopped >stopped.out 2>/dev/null &
reader=$!
wait_for "the holder" position_is t stopped held True
bus-pub t more --count=300 --wait=durable
wait_for "the messages" has_lines stopped.out 300
head=$(position t stopped head_seq)
kill "$busd"
wait "$busd"
start_busd
same "after a stop in order" "$head" "$(position t stopped seq)"
kill $reader
wait $reader 2>/dev/null

# ---- positions that cannot be read are not taken for none
kill "$busd"
wait "$busd"
rm data/streams/t/positions && mkdir data/streams/t/positions || exit 1
start_busd
bus-stat topic t --json >stat.json 2>stat.err
same "bus-stat's exit code" 1 $?
grep -q '"positions": *null' stat.json || note_failure "bus-stat --json without positions: $(cat stat.json)"
grep -q 'cannot list the durable subscriptions' stat.err || note_failure "it said: $(cat stat.err)"
expect 1 'cannot list the durable subscriptions' bus-stat topic t
finish
