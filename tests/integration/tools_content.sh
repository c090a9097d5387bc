#!/bin/bash
# Proves: what bus-pub is given is what bus-sub prints: a million lines in both starting orders, files of any
# bytes, empty messages, keys and headers, every framing and format.
. tests/integration/lib_tools.sh
start_busd

everything() { bus-sub "$@" --from=oldest --until-end; }

# A million lines. The subscriber first:
seq 1 1000000 >lines
topic first
bus-sub first --count=1000000 --raw --timeout=60s >got &
sub=$!
wait_for "the subscriber" attached first 1
bus-pub first --stdin=lines --json <lines >summary || note_failure "bus-pub failed"
wait $sub || note_failure "bus-sub failed"
cmp lines got || note_failure "a million lines, the subscriber first"
grep -qE '^\{"topic":"first","messages":1000000,"bytes":5888896,"seconds":[0-9.e-]+\}$' summary ||
  note_failure "--json says $(cat summary)"
# The publisher first, on a topic that holds them all:
bus-topic create late --slots=1048576 --bytes=64M || exit 1
bus-pub late <lines || note_failure "bus-pub failed"
bus-sub late --from=oldest --count=1000000 --raw --timeout=60s | cmp - lines || note_failure "a million lines, the publisher first"
same "the last of them" 1000000 "$(bus-sub late --from=last --until-end)"

# Without --raw, into a pipe: the same. No newline at the end, empty lines:
printf 'a\n\n\nlast' | bus-pub lines
same "odd lines" "$(printf 'a\n\n\nlast\n' | od -c)" "$(everything lines | od -c)"
printf '1\n2\n3\n' | bus-pub some --count=2
same "--count on stdin" $'1\n2' "$(everything some)"

printf 'x\ny\n' | bus-pub keyed --key=K -H A:1
same "key and header of lines" $'K A=1 x\nK A=1 y' "$(everything keyed -f '%k %h %p\n')"

# Any bytes, in each framing
head -c 300000 /dev/urandom >bytes
bus-topic create chunks --slots=1024 --bytes=1M || exit 1
bus-pub chunks --stdin=chunks:7777 <bytes
everything chunks --stdout=whole | cmp - bytes || note_failure "chunks"
same "number of chunks" 39 "$(everything chunks -f '%s\n' | wc -l)"
everything chunks --stdout=length >framed
bus-topic create framed --bytes=1M || exit 1
bus-pub framed --stdin=length <framed
everything framed --stdout=length | cmp - framed || note_failure "length"
bus-pub whole --stdin=whole <bytes # larger than a quarter of the ring: it grows
everything whole --stdout=whole | cmp - bytes || note_failure "whole"
bus-pub none --stdin=whole </dev/null
bus-pub none </dev/null
same "one empty message" '[0]' "$(everything none -f '[%s%p]')"

# MESSAGE: templates, keys, headers, formats
bus-pub made 'n={{Count}} {{x}}' --count=3 --key=K -H 'A: b c' -H X:1 -H A:again
same "-f" $'made|0|K|A=b c,X=1,A=again|n=1 {{x}}|0|%\t\\\nmade|1|K|A=b c,X=1,A=again|n=2 {{x}}|0|%\t\\' \
  "$(everything made --count=2 -f '%t|%s|%k|%h|%p|%l|%%\t\\\n')"
same "--headers" $'A: b c\nX: 1\nA: again\n\nn=1 {{x}}' "$(everything made --count=1 --raw --headers)"
expect 0 '^\{"topic":"made","seq":0,"time":"20[0-9-]+T[0-9:]+\.[0-9]{9}Z","key":"K","headers":\[\{"name":"A","value":"b c"\},\{"name":"X","value":"1"\},\{"name":"A","value":"again"\}\],"payload":"n=1 \{\{x\}\}","lost":0,"publisher":\{"pid":[0-9]+,"uid":[0-9]+,"name":"bus-pub"\}\}$' \
  everything made --json --count=1
bus-pub named x --name=me
expect 0 '"name":"me"' everything named --json
printf '\xff\x00' | bus-pub binary --stdin=whole
expect 0 '"payload_base64":"/wA="' everything binary --json
bus-pub stamped '{{Time}} {{Random}}'
# The time in the message is at most that of its publishing, and not a second older.
read -r said at < <(everything stamped -f '%p %T\n' | sed -E 's/ [0-9a-f]{16} / /')
[[ $said < $at && $(($(date -d "$at" +%s) - $(date -d "$said" +%s))) -le 1 ]] || note_failure "{{Time}} $said, published $at"
bus-pub sized --size=30 --count=2
same "--size" $'00000000000000000001abcdefghij\n00000000000000000002abcdefghij' "$(everything sized)"
bus-pub tiny --size=2 --count=100
same "--size=2" 00 "$(everything tiny | tail -n 1)"

# For people: on a terminal
bus-pub shown $'a\e[31m' --key=K
script -qec "bus-sub shown --from=oldest --until-end" /dev/null </dev/null | tr -d '\r' >terminal
grep -qF 'x1b[31m' terminal || note_failure "an escape sequence reached the terminal"
grep -qF '[#0] shown key=K' terminal || note_failure "the terminal shows $(cat terminal)"

# Patterns
bus-pub a.b.c 1; bus-pub a.x.c 2; bus-pub a.b 3
same "*" $'a.b.c 1\na.x.c 2' "$(everything 'a.*.c' -f '%t %p\n' | sort)"
same ">" $'a.b 3\na.b.c 1\na.x.c 2' "$(everything 'a.>' -f '%t %p\n' | sort)"
finish
