#!/bin/bash
# Proves: bus-fsck names each damaged message of a log and what is missing, ends with 0 only where all is sound,
# takes out of the way what is no segment and deletes nothing, leaves a log alone that is in use; and a reader
# that was written from docs/log-format.md alone sees the same messages.
. tests/integration/lib_tools.sh
root=$OLDPWD
make_log=$BUS_BUILD/tests/progs/log_make
name() { printf '%020d.log' "$1"; }

# usage
expect 0 '^usage: bus-fsck ' bus-fsck -h
expect 0 '^bus-fsck [0-9]' bus-fsck --version
expect 2 'no DIR given' bus-fsck
expect 2 'unknown option --fix' bus-fsck --fix .
expect 1 'cannot list "nowhere": No such file' bus-fsck nowhere
mkdir empty && expect 1 '"empty": there is no log' bus-fsck empty

# a sound one; several below one directory; as `bus fsck`
$make_log streams.a 1000 256 65536 && mkdir streams && mv streams.a streams/a
$make_log streams/b 10 256 65536
expect 0 'streams/a: topic rig.log, 1000 messages .* in 4 segments: sound' bus-fsck streams
expect 0 'streams/b: topic rig.log, 10 messages .* in 1 segment: sound' bus fsck streams
expect 0 'streams/b:' bus-fsck streams/a streams/b
# names that are no UTF-8, or would command the terminal
odd=$'odd\xff\e[31m'
cp -r streams/a "$odd"
expect 0 '"directory_base64"' bus-fsck --json "$odd"
bus-fsck "$odd" | grep -q $'\e' && note_failure "an escape sequence reaches the terminal"
rm -r "$odd"

# one byte of a message, of slots in a row, a file away
slots=12288
payload=$((slots + 256 * 64))
log=streams/a
$make_log --flip $log/"$(name 256)" $((payload + 64 * 44 + 3)) 5 # message 300
for n in 600 601 602; do $make_log --flip $log/"$(name 512)" $((slots + 64 * (n - 512) + 20)) 1; done
expect 1 'a/0+256.log: message 300: its payload fails the checksum' bus-fsck streams
expect 1 'a/0+512.log: messages 600 to 602: its slot fails the checksum' bus-fsck streams
expect 1 'a: topic rig.log, 996 messages .* in 4 segments: 4 damaged, 0 missing, 0 unusable' bus-fsck -q streams
bus-fsck streams >before
bus-fsck --repair streams >after
cmp -s before after || note_failure 'damaged messages need no repair, and got one'

json=$(bus-fsck --json streams)
[ "$(jq -r '.[0] | "\(.directory) \(.messages) \(.damaged) \(.missing) \(.sound)"' <<<"$json")" = 'streams/a 996 4 0 false' ] ||
  note_failure "json: $json"
[ "$(jq -r '.[0].findings[] | select(.kind == "damage") | "\(.from) \(.to)"' <<<"$json" | tr '\n' ,)" = '300 300,600 602,' ] ||
  note_failure "json findings: $json"
[ "$(jq -r '.[1].sound' <<<"$json")" = true ] || note_failure "json of b: $json"

# what a reader of its own makes of it
if command -v python3 >/dev/null; then
  python3 "$root"/docs/examples/read_log.py $log >got 2>missing
  for ((n = 0; n < 1000; n++)); do
    case $n in 300 | 600 | 601 | 602) ;; *) echo "message $n" ;; esac
  done >want
  cmp -s got want || note_failure "read_log.py gives other messages: $(diff got want | head -n 3)"
  [ "$(sed 's/:.*//' missing | tr '\n' ,)" = 'message 300,message 600,message 601,message 602,' ] ||
    note_failure "read_log.py misses others: $(cat missing)"
  python3 "$root"/docs/examples/read_log.py --json "$root"/tests/golden/log-1 | jq -r '"\(.seq) \(.key) \(.payload[:15])"' >got
  printf '%s\n' '1000  plain' '1001  ' '1002 golden-key keyed' '1003 golden-key headed' >want
  head -n 4 got | cmp -s - want || note_failure "read_log.py and the golden log: $(cat got)"
  [ "$(tail -n 2 got | tr '\n' ,)" = '1105  behind the hole,1106  not synced,' ] ||
    note_failure "read_log.py and the golden log's end: $(cat got)"
else
  echo 'python3 is not here: docs/examples/read_log.py was not tried'
fi

# one file
expect 1 'cannot read "streams/none": there is no such file' bus-stat segment streams/none
expect 1 'cannot list|cannot open "nowhere/": No such file' bus-stat segment nowhere/x
expect 0 '^begins with  message 512$' bus-stat segment $log/"$(name 512)"
expect 1 '^messages 600 to 602: its slot fails the checksum$' bus-stat segment --verify $log/"$(name 512)"
expect 1 '^messages     253 whole, 3 damaged$' bus-stat segment --verify $log/"$(name 512)"
expect 0 '^messages     256 whole, 0 damaged$' bus-stat segment --verify $log/"$(name 0)"
[ "$(bus-stat segment --json --verify $log/"$(name 512)" | jq -r '"\(.base_seq) \(.damaged) \(.findings[0].from)"')" = '512 3 600' ] ||
  note_failure "bus-stat segment --json: $(bus-stat segment --json --verify $log/"$(name 512)")"

# files: no segment, a wrong name, another stream's; one missing
mv $log/"$(name 512)" $log/"$(name 513)"
head -c 20000 /dev/urandom >$log/"$(name 256)"
expect 1 'a/0+513.log: it is named after another number' bus-fsck streams
expect 1 'a/0+256.log: it does not begin as a segment does' bus-fsck streams
expect 1 'a/0+256.log: messages 256 to 511: the file cannot be used' bus-fsck streams
before=$(sha256sum $log/* | cut -d' ' -f1 | sort)
# in use
exec 9<$log
flock -x 9 || note_failure 'flock'
expect 1 '"streams/a" is in use: a busd writes there' bus-fsck --repair $log
expect 1 '741 messages .* in 3 segments: 3 damaged, 256 missing, 1 unusable file, 1 flaw' bus-fsck $log
flock -u 9
exec 9<&-
expect 1 'a/0+256.log: renamed to 0+256.log.bad' bus-fsck --repair $log
[ -e $log/"$(name 512)" ] || note_failure 'the segment did not get its name back'
[ "$before" = "$(sha256sum $log/* | cut -d' ' -f1 | sort)" ] || note_failure 'the repair changed or lost a file'
expect 1 'messages 256 to 511: the file is missing' bus-fsck $log
expect 1 '\(note\) quarantined' bus-fsck $log

# two that have each other's name: both get their own
mv $log/"$(name 0)" x && mv $log/"$(name 768)" $log/"$(name 0)" && mv x $log/"$(name 768)"
bus-fsck --repair $log >/dev/null
bus-fsck $log | grep -q 'named after' && note_failure 'names that were exchanged are not right'

# a byte of a header
printf '\2' | dd of=streams/b/"$(name 0)" bs=1 seek=8 conv=notrunc status=none
expect 1 'b/0+0.log: its header is damaged; the copy serves' bus-fsck streams/b

if [ "$(id -u)" -eq 0 ]; then
  chmod 700 streams && chown root streams
  expect 4 'ermission denied' setpriv --reuid=65534 --regid=65534 --clear-groups env PATH="$PATH" bus-fsck "$PWD"/streams
fi
finish
