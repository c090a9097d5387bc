#!/bin/bash
# Proves: bus-replay from a directory: each range has exactly its messages, by number, time and from the end; in
# each form as bus-sub prints it; at the recorded distances never too early, and asleep in between; what is missing
# is told with numbers, reason and file and in the exit code, everything else is given; a signal ends it cleanly;
# each wrong command line is refused with the reason.
# timeout: 90
. tests/integration/lib_tools.sh
make_log=$BUS_BUILD/tests/progs/log_make
name() { printf '%020d.log' "$1"; }
lines() { # lines FROM TO: of messages [FROM, TO)
  local n
  for ((n = $1; n < $2; n++)); do echo "message $n"; done
}
replay() { bus-replay --dir=log "$@" 2>said; }

# usage
expect 0 '^usage: bus-replay ' bus-replay -h
expect 0 '^bus-replay [0-9]' bus-replay --version
expect 0 '^usage: bus-replay ' bus help replay
expect 2 'no TOPIC given' bus-replay
expect 2 'one TOPIC is allowed, "b" is too much' bus-replay a b
expect 2 'not a topic name' bus-replay 'a.>'
expect 2 'unknown option --follow' bus-replay --dir=log --follow
expect 2 '--from: "then" is no place: oldest, end, seq:N' bus-replay --dir=log --from=then
expect 2 '--to: "now" is no place' bus-replay --dir=log --to=now
expect 2 '--from: "2024-02-30" is not a time' bus-replay --dir=log --from=time:2024-02-30
expect 2 '--from: "-5.5" has no unit' bus-replay --dir=log --from=-5.5
expect 2 '--from is behind --to' bus-replay --dir=log --from=seq:5 --to=seq:4
expect 2 '--speed: "fast" is not one of max|original|Nx' bus-replay --dir=log --speed=fast
expect 2 '--speed: "0" is not a rate' bus-replay --dir=log --speed=0x
expect 2 '--speed: "x" is not one of' bus-replay --dir=log --speed=x
expect 2 '--count: 0 is not between' bus-replay --dir=log --count=0
expect 2 'exclude each other' bus-replay --dir=log --raw --json
expect 2 '--headers goes with' bus-replay --dir=log --headers --json
expect 2 'are for --into' bus-replay --dir=log --plain
expect 2 'are for --into' bus-replay --dir=log --wait=durable
expect 2 '--into prints nothing' bus-replay --dir=log --into=x --raw
expect 2 '"t" is the topic that is replayed' bus-replay t --into=t
expect 2 '--name: 1 to 42' bus-replay t --into=u --name="$(printf 'n%.0s' {1..43})"
expect 1 'cannot open "nowhere": No such file' bus-replay --dir=nowhere
mkdir empty && touch empty/x && expect 1 '"empty": there is no log of a stream in it' bus-replay --dir=empty
BUS_SOCKET=$TMPDIR/nobody expect 3 'cannot connect' bus-replay t

# messages 0 to 999, a microsecond apart from 2023-11-14T22:13:20 on, in four segments
$make_log log 1000 256 65536
lines 0 1000 >all
check() { # check FIRST END OPTION...: exactly messages [FIRST, END)
  lines "$1" "$2" >want
  replay "${@:3}" >got || note_failure "${*:3}: exit code $?: $(cat said)"
  cmp -s got want || note_failure "${*:3}: $(wc -l <got) lines from \"$(head -n 1 got)\" on, not $1 to $2"
}
check 0 1000
check 0 1000 --from=oldest --to=end
check 17 1000 --from=seq:17
check 250 260 --from=seq:250 --to=seq:260
check 255 256 --from=seq:255 --to=seq:256
check 0 0 --from=seq:300 --to=seq:300
check 990 1000 --from=-10
check 0 1000 --from=-100000
check 0 990 --to=-10
check 980 990 --from=-20 --to=-10
check 500 507 --from=seq:500 --count=7
check 995 1000 --from=seq:995 --count=7
check 900 1000 --from=seq:900 --to=seq:5000
t=2023-11-14T22:13:20
check 300 1000 --from=time:$t.0003Z
check 301 1000 --from=time:$t.000300001Z
check 300 1000 --from="time:2023-11-14 23:13:20.0003+01:00"
check 0 300 --to=time:$t.0003
check 256 512 --from=time:@1700000000.000256 --to=time:@1700000000.000512
check 0 1000 --from=time:2001-01-01 --to=time:2200-01-01
check 0 1000 --to=-1h
check 0 0 --from=-1h
grep -q 'nothing' said && note_failure "an empty range at the end is no surprise: $(cat said)"
check 0 0 --from=seq:1001
grep -q 'nothing of "rig.log" is there from number 1001 on: it ends before 1000' said || note_failure "behind the end: $(cat said)"
check 0 0 --from=time:2200-01-01
# two ranges that meet are the whole
{ replay --to=time:$t.0007 && replay --from=time:$t.0007; } | cmp -s - all || note_failure "two halves are not the whole"
bus-replay --dir=log rig.log | cmp -s - all || note_failure "with its topic's name"
expect 1 'the log in "log" is that of "rig.log", not of "other"' bus-replay --dir=log other

# forms; the same code as bus-sub's
same "-f" "7 ${t}.000007000Z message 7 0;" "$(replay --from=seq:7 --count=1 -f '%s %T %p %l;')"
same "json" "[\"rig.log\",7,\"${t}.000007000Z\",\"message 7\",0]" \
  "$(replay --from=seq:7 --count=1 --json | jq -c '[.topic, .seq, .time, .payload, .lost]')"
same "whole" "message 7message 8" "$(replay --from=seq:7 --count=2 --stdout=whole)"
same "length" " 09 00 00 00 6d 65" "$(replay --from=seq:7 --count=1 --stdout=length | od -An -tx1 -N6)"
replay --count=3 --stats >/dev/null
grep -qE '^bus-replay: 3 messages \(27 B\) of "rig.log" in [0-9.]+ [mu]?s$' said || note_failure "--stats: $(cat said)"
expect 1 'cannot write the output: No space left' sh -c 'bus-replay --dir=log >/dev/full'
bus-replay --dir=log --json | head -n 1 >/dev/null
same "nobody reads on" 141 "${PIPESTATUS[0]}"

# speed: never early, in order, asleep
TIMEFORMAT='%R %U %S'
{ time replay --from=seq:100 --count=101 --speed=0.0001x >got; } 2>took # 100 us at this are 1 s
lines 100 201 | cmp -s - got || note_failure "slowly: not the messages in order"
read -r real user sys <took
awk "BEGIN { exit !($real >= 1.0) }" || note_failure "100 us at 0.0001x took $real s, not 1 s at least"
awk "BEGIN { exit !($user + $sys < 0.5) }" || note_failure "waiting took $user + $sys s of the processor"
# the second one 300 ms behind the first, the third 600 ms, counted from the first, not from the one before
bus-replay --dir=log --from=seq:100 --count=3 --speed=0.00000333x | while read -r line; do
  echo "${EPOCHREALTIME/./} $line"
done >got
mapfile -t at < <(cut -d' ' -f1 got)
if [ $((at[1] - at[0])) -lt 200000 ] || [ $((at[2] - at[0])) -lt 500000 ]; then
  note_failure "played too early: $(cat got)"
fi
{ time replay --speed=original >got; } 2>took # all within a millisecond
cmp -s got all || note_failure "--speed=original: other messages"

# signals
rm -f got # so that what is waited for is not in it yet
bus-replay --dir=log --from=seq:100 --speed=0.0000001x >got 2>said &
pid=$!
wait_for "the first message" grep -q 'message 100' got
kill -TERM $pid
wait $pid
same "dies of the signal" 143 $?
same "what came so far is written" "message 100" "$(cat got)"
grep -q 'stopped: number 101 is the next one' said || note_failure "stopped: said $(cat said)"

# damage: a byte of message 300, the file with 512 to 767
slots=12288
payload=$((slots + 256 * 64))
$make_log --flip log/"$(name 256)" $((payload + 64 * 44 + 3)) 5
mv log/"$(name 512)" kept
{ lines 0 300 && lines 301 512 && lines 768 1000; } >want
replay >got && note_failure "damage, and exit code 0"
cmp -s got want || note_failure "with damage: other messages than all good ones: $(diff got want | head -n 3)"
cat >told <<END
bus-replay: message 300 of "rig.log" is missing: its payload fails the checksum (file $(name 256))
bus-replay: messages 512 to 767 of "rig.log" are missing: the file is missing (file $(name 512))
END
cmp -s said told || note_failure "of the damage: said $(cat said)"
replay --stats >/dev/null
grep -q '743 messages .*; 2 gaps, 257 messages missing' said || note_failure "--stats of damage: $(cat said)"
# of a range, its own part
replay --from=seq:600 --to=seq:700 >got && note_failure "all of a range is missing, and exit code 0"
[ -s got ] && note_failure "messages of a file that is not there"
grep -q 'messages 600 to 699 of' said || note_failure "part of a gap: $(cat said)"
replay --from=seq:301 --to=seq:512 >got || note_failure "a range without damage: $(cat said)"
lines 301 512 | cmp -s - got || note_failure "a range without damage has other messages"
same "lost" "301 1" "$(replay --from=seq:299 --count=2 -f '%s %l\n' | tail -n 1)"
rm log/"$(name 0)"
replay --from=seq:10 --to=seq:260 >got && note_failure "asked for what is not kept, and exit code 0"
grep -q 'messages 10 to 255 of "rig.log" are missing: older than what is kept' said || note_failure "gone: $(cat said)"
replay --to=seq:260 >got || note_failure "oldest is what is there: $(cat said)"
# the last file is no segment: how much is missing nobody knows
head -c 20000 /dev/urandom >log/"$(name 768)"
mv kept log/"$(name 512)"
replay --from=seq:512 >got && note_failure "the last file is broken, and exit code 0"
lines 512 768 | cmp -s - got || note_failure "before a broken file: other messages"
grep -q 'from number 768 on cannot be had: the file cannot be used .*; how many, nobody knows' said || note_failure "broken end: $(cat said)"
replay --from=seq:512 --to=seq:700 >got || note_failure "what is behind the range counted: $(cat said)"

if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
  chmod 700 log
  expect 4 'ermission denied' setpriv --reuid=65534 --regid=65534 --clear-groups env PATH="$PATH" bus-replay --dir="$PWD"/log
fi
finish
