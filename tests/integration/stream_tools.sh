#!/bin/bash
# Proves: a stream by the tools: bus-topic makes and describes it and says what differs, bus-pub waits until all is in
# it and, by a name, sends nothing twice, bus-sub reads it from a number on, bus-stat shows what is in it and whose;
# what is not there (disk, times) is refused with the reason.
. tests/integration/lib_tools.sh

start_busd

topic live
expect 0 '' bus-topic create s --stream --sync=memory --stream-slots=1000 --stream-bytes=1M
expect 0 '' bus-topic create s --stream --sync=memory --stream-slots=1024 --stream-bytes=1M
expect 1 'exists with stream_slots 1024, not 2048' bus-topic create s --stream --sync=memory --stream-slots=2048 --stream-bytes=1M
expect 1 'exists with sync memory; remove it' bus-topic create s --stream --sync=none --stream-slots=1024 --stream-bytes=1M
expect 1 'exists and is a stream; remove it' bus-topic create s
expect 1 'exists and is no stream; remove it' bus-topic create live --stream
expect 2 'only a stream has a ring of its own' bus-topic create x --stream-slots=64
expect 2 'do not fit into a stream' bus-topic create x --stream --stream-bytes=64K --bytes=1M
expect 0 '^stream +the last 1024 messages' bus-topic info s
expect 0 '"stream":true,"stream_slots":1024' bus-topic info s --json

# levels
expect 1 'is no stream: its messages are in the publisher.s ring' bus-pub live x --wait=stream
expect 1 'lies in memory: nothing of it is kept on disk' bus-pub s x --wait=durable
expect 0 '' bus-pub s one --wait=stream
same "what is there at once" one "$(bus-sub s --raw --from=oldest --until-end)"

# a name; the input is sent again, as far as it has come
seq 1 300 >input
expect 1 'is no stream' bus-pub live --name=n --resume x
head -n 100 input | bus-pub s --name=n --resume --wait=stream || note_failure "the first part: $?"
bus-pub s --name=n --resume --wait=stream <input 2>said || note_failure "all of it: $?"
grep -q 'has the first 100 messages of "n"' said || note_failure "said: $(cat said)"
same "all, once" "$(sha256sum <input)" "$(bus-sub s --raw --from=seq:1 --until-end | sha256sum)"
same "from a number" "$(tail -n 11 input)" "$(bus-sub s --raw --from=seq:290 --until-end)"
same "numbers and names" "300 300" "$(bus-sub s --from=last --until-end -f '%s %p')"
expect 2 'there is no stream "live"' bus-sub live --from=seq:0
expect 2 'may match several topics' bus-sub 's.>' --from=seq:1

# what bus-stat says
expect 0 '^s: 301 messages' bus-stat topic s
expect 0 'a stream: its last 1024 messages' bus-stat topic s
expect 0 '"messages":301' bus-stat topic s --json
expect 0 '^n\[[0-9]+\].* 300$|n.* 300' bus-stat peek s -n 1
mkfifo hold
bus-pub s --name=n <hold &
pub=$!
exec 5>hold
echo more >&5
wait_for "the message" bash -c 'bus-stat topic s --json | grep -q "\"taken\":301[,}]"'
expect 0 'n\[[0-9]+\]: 301 of 301 are in the stream' bus-stat topic s
expect 1 'publisher "n" is open on stream "s"' bus-pub s --name=n x
exec 5>&-
wait $pub

expect 0 '' bus-topic rm s
expect 1 'no such topic' bus-topic info s
finish
