#!/bin/bash
# Proves: each wrong command line of bus, bus-pub, bus-sub and bus-topic ends with exit code 2 and says what
# is wrong with it, before any busd is looked for; -h and --version work without one.
. tests/integration/lib_tools.sh
export BUS_SOCKET=$TMPDIR/nobody-listens

for tool in bus-pub bus-sub bus-topic; do
  expect 0 "^usage: $tool " $tool -h
  expect 0 "^usage: $tool " $tool --help
  expect 0 "^$tool [0-9]+\.[0-9]+" $tool --version
  expect 2 "^$tool: unknown option --nonsense" $tool --nonsense
  expect 2 "^$tool: unknown option -Z" $tool -Z
  expect 2 "^$tool: option --socket needs a value" $tool --socket
  expect 2 "^$tool: option --version takes no value" $tool --version=3
  expect 2 "--socket: the path is empty" $tool --socket=
done

# bus-pub
expect 2 'no TOPIC' bus-pub
expect 2 'one MESSAGE' bus-pub t a b
expect 2 'not a topic name' bus-pub 'a..b' x
expect 2 'not a topic name' bus-pub 'a.*' x
expect 2 'not a topic name' bus-pub 'a b' x
expect 2 'not a topic name' bus-pub '' x
expect 2 'not a topic name' bus-pub "$(printf 'x%.0s' {1..256})" x
expect 2 '--count: "x" is not a number' bus-pub t m --count=x
expect 2 '--count: 0 is not between' bus-pub t m --count=0
expect 2 '--count: "-1" is not a number' bus-pub t m --count=-1
expect 2 '--rate: "0" is not a rate' bus-pub t m --rate=0
expect 2 '--rate: "fast" is not a rate' bus-pub t m --rate=fast
expect 2 '--size: "10X" is not a size' bus-pub t --size=10X
expect 2 '--size: 8589934592 is not between' bus-pub t --size=8589934592
expect 2 'MESSAGE and --size exclude' bus-pub t m --size=10
expect 2 'exclude each other' bus-pub t m --stdin=lines
expect 2 'exclude each other' bus-pub t --size=5 --stdin=lines
expect 2 '--stdin: "words" is not one of' bus-pub t --stdin=words
expect 2 '--stdin' bus-pub t --stdin=chunks
expect 2 '--stdin=chunks: "0x" is not a size' bus-pub t --stdin=chunks:0x
expect 2 '--stdin=chunks: 0 is not between' bus-pub t --stdin=chunks:0
expect 2 '-H: "nocolon" is not NAME:VALUE' bus-pub t m -H nocolon
expect 2 '-H: ":x" is not NAME:VALUE' bus-pub t m -H :x
expect 2 '-H: the name has 256 bytes' bus-pub t m -H "$(printf 'n%.0s' {1..256}):v"
# shellcheck disable=SC2046
expect 2 'at most 64 headers' bus-pub t m $(printf -- '-Ha:%s ' {1..65})
expect 2 '--key: 1 to 255' bus-pub t m --key="$(printf 'k%.0s' {1..256})"
expect 2 '--name: 1 to 63' bus-pub t m --name="$(printf 'k%.0s' {1..64})"
expect 2 '--resume needs a --name' bus-pub t m --resume
expect 2 '--wait: "soon" is not one of' bus-pub t m --wait=soon
expect 2 '--full: "wait" is not one of' bus-pub t m --full=wait
expect 2 '--full-time: "1x" is not a duration' bus-pub t m --full-time=1x
expect 2 'needs --full=block' bus-pub t m --full-time=forever
expect 2 'does not wait' bus-pub t m --full=fail --full-time=1s
expect 2 'not to wait at all is --full=fail' bus-pub t m --full-time=0s
expect 2 '--slots: 5 is not between' bus-pub t m --slots=5

# bus-sub
expect 2 'no PATTERN' bus-sub
expect 2 'one PATTERN' bus-sub a b
expect 2 '--from: "x" is not' bus-sub t --from=seq:x
expect 2 '--from' bus-sub t --from=time:2024-13-01
expect 2 '--from' bus-sub t --from=-1y
expect 2 '--from: "then" is no place: now, last, oldest' bus-sub t --from=then
expect 2 'nothing is remembered' bus-sub t --group=g
expect 2 'nothing is remembered' bus-sub t --ack=auto
expect 2 '%x is unknown' bus-sub t -f '%x'
expect 2 '% *is unknown' bus-sub t -f 'abc%'
expect 2 '\\q is unknown' bus-sub t -f '\q'
expect 2 'exclude each other' bus-sub t --raw --json
expect 2 'exclude each other' bus-sub t --stdout=whole -f '%p'
expect 2 '--headers goes with' bus-sub t --headers --json
expect 2 '--until-end' bus-sub t --until-end
expect 2 '--timeout: more than 0' bus-sub t --timeout=0

# bus-topic
expect 2 'no command' bus-topic
expect 2 '"make" is not one of' bus-topic make t
expect 2 'no TOPIC' bus-topic create
expect 2 'no TOPIC' bus-topic rm
expect 2 'no TOPIC' bus-topic info
expect 2 'takes one topic' bus-topic create a b
expect 2 'not a topic name' bus-topic create 'a.>'
expect 2 'rm does not take' bus-topic rm t --slots=16
expect 2 'create does not take --force' bus-topic create t --force
expect 2 'create does not take --json' bus-topic create t --json
expect 2 '--numa: "here" is not' bus-topic create t --numa=here
expect 2 '--huge: "yes" is unknown' bus-topic create t --huge=yes
expect 2 'is for a stream: add --stream' bus-topic create t --max-age=1h
expect 2 'is for a stream: add --stream' bus-topic create t --sync=batch

# bus: its tools are those beside it and on PATH, and get their arguments as they are
expect 0 '^  pub +publish' bus help
expect 0 '^  topic +' bus -h
expect 2 '^  sub +' bus
expect 0 '^usage: bus-sub ' bus help sub
expect 0 '^usage: bus-pub ' bus pub -h
expect 2 'no command "nonsense"' bus nonsense
expect 2 'is not the name of a command' bus ../x
expect 2 '^bus: unknown option -x' bus -x pub
expect 2 '^bus-pub: unknown option --nonsense' bus pub t --nonsense
mkdir extra
printf '#!/bin/sh\nprintf "<%%s>" "$0" "$BUS_SOCKET" "$@"\n' >extra/bus-own
chmod +x extra/bus-own
printf '#!/bin/sh\necho not mine\n' >extra/bus-pub
chmod +x extra/bus-pub
PATH=$PATH:$TMPDIR/extra expect 0 '^  own' bus help
PATH=$PATH:$TMPDIR/extra expect 0 '^<.*bus-own><S><a b><--json><>$' bus --socket=S own 'a b' --json ''
PATH=$TMPDIR/extra:$PATH expect 0 '^usage: bus-pub ' "$BUS_BUILD/bus" pub -h
finish
