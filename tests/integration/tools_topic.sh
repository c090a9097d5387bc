#!/bin/bash
# Proves: bus-topic creates, lists, describes and removes topics, and says what it may not do.
. tests/integration/lib_tools.sh
start_busd

expect 0 '' bus-topic ls
expect 0 '^\[\]$' bus-topic ls --json
expect 0 '' bus-topic create b.two --slots=2000 --bytes=100K --max-bytes=4M
expect 0 '' bus-topic create a.one
expect 0 '' bus-topic create a.one
same "ls" $'a.one\nb.two' "$(bus-topic ls | sed 1d | cut -d ' ' -f 1)"
same "ls PATTERN" b.two "$(bus-topic ls 'b.*' | sed 1d | cut -d ' ' -f 1)"
# Sizes are made powers of two.
expect 0 '^\{"topic":"b.two","explicit":true,"publishers":0,"subscribers":0,"rings":0,"slots":2048,"bytes":131072,"max_bytes":4194304,"numa":"auto","huge":"no","memory_bytes":[0-9]+,"created":"20[^"]*Z","stream":false,"stream_slots":0\}$' \
  bus-topic info b.two --json
expect 0 'a new ring +2048 slots, 128 KiB of payload, may grow to 4 MiB' bus-topic info b.two
expect 1 'cannot describe topic "c": there is no such topic' bus-topic info c
expect 1 'cannot create topic "b.two": .*exists with slots 2048, not 4096' bus-topic create b.two
expect 1 'cannot create topic "a.one": .*exists' bus-topic create a.one --exclusive
expect 2 'cannot create topic "n": .*NUMA node 999' bus-topic create n --numa=999
expect 0 '' bus-topic create i --numa=interleave
expect 0 '"numa":"interleave"' bus-topic info i --json
expect 0 '' bus-topic create z --numa=0
expect 0 '"numa":"0"' bus-topic info z --json
expect 0 '' bus-topic create h --huge=or-not
expect 0 '"huge":"or-not"' bus-topic info h --json
bus-pub h x || note_failure "huge pages or not: cannot publish"

# One made on demand is listed while it is used, and may be turned into one that stays
mkfifo in
bus-pub demand <in &
pub=$!
exec 3>in
wait_for "the publisher" bus-topic info demand
expect 0 '^demand .* on demand$' bus-topic ls
expect 0 '' bus-topic create demand
expect 0 '^demand .* created$' bus-topic ls
expect 1 'cannot remove topic "demand": .*bus-pub' bus-topic rm demand
exec 3>&-
wait $pub
expect 0 '' bus-topic rm demand
expect 1 'cannot remove topic "demand": there is no topic' bus-topic rm demand
expect 0 '' bus-topic rm a.one
same "what is left" 'b.two h i z ' "$(bus-topic ls | sed 1d | cut -d ' ' -f 1 | tr '\n' ' ')"
finish
