#!/bin/bash
# Proves: a stream replayed by its topic's name, and into other topics: live and stream get every message once and in
# order, with key, headers, payload, and the number and time that it had; a reader that is slow holds the
# replay back; one that is killed by -9 in the midst and run again leaves no message out and none twice, over
# holes and damage too, and with a count; a worker killed meanwhile costs nothing. Who has no right to it: users.sh.
# timeout: 300
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

COUNT=60000
seq 1 $COUNT >lines
start_busd
# entered TOPIC: messages that have entered it; asked again and again
entered() { bus-topic info "$1" --json | sed -n 's/.*"head_seq":\([0-9]*\).*/\1/p'; }
head_is() { [ "$(entered "$1")" = "$2" ]; }
head_over() { [ "$(entered "$1")" -gt "$2" ]; }
bus-topic create s --stream || exit 1
bus-pub s --stdin=lines --wait=durable <lines || exit 1

# by name
expect 1 'there is no stream "none"' bus-replay none
topic live
expect 1 'is no stream' bus-replay live
bus-topic create mem --stream --sync=memory
expect 1 'is in memory only' bus-replay mem
bus-topic create nothing --stream
expect 0 '' bus-replay nothing
bus-replay s >got || note_failure "by name: exit code $?"
cmp -s got lines || note_failure "by name: $(wc -l <got) lines, not the input"
same "a range of it" "$(sed -n 1001,1010p lines)" "$(bus-replay s --from=seq:1000 --to=seq:1010)"
same "its end" "$(tail -n 5 lines)" "$(bus-replay s --from=-5)"
same "by time" $COUNT "$(bus-replay s --from=-1h --to=time:2200-01-01 | wc -l)"
same "from now on" "" "$(bus-replay s --from=end)"

# into a live topic: all of it, through a ring of 16 messages and a reader that takes 2,000 a second
bus-topic create small --slots=16 || exit 1
bus-sub small --raw --count=1000 --rate=2000 >got 2>slowly.said &
sub=$!
wait_for "the subscriber" attached small 1
expect 0 '' bus-replay s --into=small --from=seq:500 --count=1000
wait $sub || note_failure "the slow subscriber: $?"
cmp -s got <(sed -n 501,1500p lines) || note_failure "into a live topic: other messages: $(head -n 1 got), $(cat slowly.said)"
[ -s slowly.said ] && note_failure "the slow subscriber lost something: $(cat slowly.said)"
expect 1 'small.* is no stream' bus-replay s --into=small --wait=stream

# what a message carries
bus-topic create rich --stream && bus-topic create rich.copy --stream && bus-topic create rich.plain --stream || exit 1
bus-pub rich --key=k1 -H colour:blue -H colour:red "payload one" && bus-pub rich --wait=durable "" || exit 1
expect 0 'begins at number 0; the same again is --from=seq:0' bus-replay rich --into=rich.copy --wait=durable
was=$(bus-replay rich --json | jq -c '[.time]' | head -n 1)
bus-replay rich.copy --json >got
same "key and payload" '["k1","payload one"]' "$(head -n 1 got | jq -c '[.key, .payload]')"
same "headers" '[["colour","blue"],["colour","red"],["replay-seq","0"]]' "$(head -n 1 got | jq -c '[.headers[] | [.name, .value]][:3]')"
same "the time it had" "$was" "$(head -n 1 got | jq -c '[.headers[] | select(.name == "replay-time") | .value]')"
same "an empty one" '["",null,2]' "$(tail -n 1 got | jq -c '[.payload, .key, (.headers | length)]')"
bus-replay rich --from=seq:0 --into=rich.plain --plain --wait=durable || note_failure "--plain: $?"
same "plain" '[["colour","blue"],["colour","red"]] null' "$(bus-replay rich.plain --json | jq -c '.headers' | jq -c 'if . then [.[] | [.name, .value]] else . end' | tr '\n' ' ' | sed 's/ $//')"
# a copy's copy has the copy's numbers, once
bus-topic create rich.again --stream || exit 1
bus-pub rich.copy --wait=durable third
bus-replay rich.copy --from=seq:1 --into=rich.again --wait=durable || note_failure "a copy of a copy: $?"
same "a copy of a copy" '["1","2"]' "$(bus-replay rich.again --json | jq -c '.headers[] | select(.name == "replay-seq") | .value' | jq -sc .)"
# as many headers as a message may have
many=()
for i in {1..63}; do many+=(-H "h$i:x"); done
bus-pub rich --wait=durable "${many[@]}" full || exit 1
expect 1 'message 2 of "rich": its key and headers leave no room for two headers more; --plain' \
  bus-replay rich --from=seq:2 --into=rich.again
expect 0 '' bus-replay rich --from=seq:2 --into=rich.again --plain
expect 2 '"rich" is the topic that is replayed' bus-replay --dir="$TMPDIR/data/streams/rich" --into=rich

# so that all of s takes some seconds, however fast it was published
span=$(bus-replay s --json | sed -n '1p;$p' | jq -r .time | while read -r t; do date -d "$t" +%s%N; done | paste -sd- | sed -E 's/(.*)-(.*)/\2-\1/')
slowly=$(awk "BEGIN { printf \"%.6fx\", ($((span)) + 1) / 4e9 }")

# killed in the midst, again and again, each time elsewhere
bus-topic create copy --stream || exit 1
copied=0
for round in 1 2 3; do
  bus-replay s --from=seq:0 --into=copy --speed="$slowly" 2>>said &
  pid=$!
  wait_for "some more of the copy" head_over copy "$copied"
  kill -KILL $pid
  wait $pid 2>/dev/null
  copied=$(entered copy)
  [ "$copied" -lt $COUNT ] || { echo "round $round: all was copied before it was killed"; break; }
done
[ "$round" -gt 1 ] || note_failure "never killed in the midst"
bus-replay s --from=seq:0 --into=copy --wait=durable 2>said || note_failure "the last run: $?: $(cat said)"
grep -qE '"copy" has [0-9]+ messages of this replay from number 0 on: it goes on at [0-9]+' said || note_failure "going on: said $(cat said)"
bus-replay copy >got
cmp -s got lines || note_failure "killed and repeated: $(wc -l <got) lines, not the input"
expect 0 "\"copy\" has $COUNT messages of this replay" bus-replay s --from=seq:0 --into=copy --wait=durable
same "once more, and nothing more" $COUNT "$(entered copy)"
# another name is another replay
expect 0 '' bus-replay s --from=seq:0 --count=10 --into=copy --name=again --wait=durable
same "ten by another name" $((COUNT + 10)) "$(entered copy)"
expect 0 'has 10 messages .* goes on at 10' bus-replay s --from=seq:0 --count=10 --into=copy --name=again --wait=durable
same "and not again" $((COUNT + 10)) "$(entered copy)"

# all of busd killed: the source has a hole of numbers; and a byte of it is flipped
kill_all
start_busd
bus-pub s --wait=durable "after the hole" || exit 1
# its payload is found by its bytes, with zeros around it
file=$TMPDIR/data/streams/s/$(printf '%020d.log' 0)
at=$(LC_ALL=C grep -obUaP -m 1 '\x0030000\x00' "$file" | head -n 1 | cut -d: -f1)
"$BUS_BUILD/tests/progs/log_make" --flip "$file" $((at + 1)) 0
bus-replay s 2>said >got && note_failure "a damaged source, and exit code 0"
{ sed 30000d lines && echo "after the hole"; } >want
cmp -s got want || note_failure "a damaged source: $(diff got want | head -n 3)"
grep -q 'message 29999 of "s" is missing: its payload fails' said || note_failure "damage: said $(cat said)"
grep -qE "numbers $COUNT to [0-9]+ of \"s\" were passed over after a crash: no messages" said || note_failure "hole: said $(cat said)"
bus-topic create mended --stream || exit 1
for limit in 5000 40000; do
  bus-replay s --from=seq:0 --into=mended --speed="$slowly" 2>/dev/null &
  pid=$!
  wait_for "some of it" head_over mended $limit
  kill -KILL $pid
  wait $pid 2>/dev/null
done
for round in 1 2; do
  bus-replay s --from=seq:0 --into=mended --wait=durable 2>said && note_failure "into, damaged, and exit code 0"
  bus-replay mended >got
  cmp -s got want || note_failure "over damage and hole, run $round: $(wc -l <got) lines: $(diff got want | head -n 3); $(cat said)"
done
# so many messages, behind the damage too, are so many, however often the replay is repeated
bus-topic create counted --stream || exit 1
for count in 30050 30100 30100; do
  bus-replay s --from=seq:0 --count=$count --into=counted --wait=durable 2>said && note_failure "--count=$count, damaged, and exit code 0"
  bus-replay counted >got
  head -n $count want | cmp -s - got || note_failure "--count=$count: $(wc -l <got) lines; $(cat said)"
done

# the worker is killed while it goes on
bus-topic create calm --stream || exit 1
bus-replay s --from=seq:30000 --count=30000 --into=calm --wait=durable --speed="$slowly" 2>said &
pid=$!
wait_for "some of it" head_over calm 1000
kill_worker
wait $pid || note_failure "the worker killed: exit code $?: $(cat said)"
bus-replay calm >got
tail -n 30000 lines | cmp -s - got || note_failure "the worker killed: $(wc -l <got) lines"

# at its own speed, and stopped
bus-topic create slow --stream || exit 1
bus-replay s --from=seq:10 --speed="$slowly" --into=slow 2>said &
pid=$!
wait_for "some of it" head_over slow 10
kill -TERM $pid
wait $pid
same "stopped" 143 $?
next=$(sed -n 's/.*stopped: number \([0-9]*\) is the next one/\1/p' said)
wait_for "what was sent" head_is slow $((next - 10))
finish
