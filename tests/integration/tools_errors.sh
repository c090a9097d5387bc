#!/bin/bash
# Proves: what can go wrong at run time gets its text and exit code from the tools, and disturbs nobody else.
. tests/integration/lib_tools.sh

# nobody there
expect 3 "no busd listens at none" bus-pub --socket=none t x
expect 3 'no busd runs .* none may be started' bus-sub t
BUS_SOCKET=$TMPDIR/none expect 3 'no busd listens' bus-topic ls
touch file
expect 3 'no busd listens' bus-pub --socket=file t x
expect 3 'no busd listens' bus-pub --socket=file/sock t x

# somebody else there
listen() { # listen TYPE ANSWER: a socket that is not busd's
  rm -f "$TMPDIR/other"
  perl -MSocket -e '
    socket(S, AF_UNIX, $ARGV[0] eq "stream" ? SOCK_STREAM : SOCK_SEQPACKET, 0) && bind(S, sockaddr_un("other")) &&
      listen(S, 5) or die $!;
    while (accept(C, S)) { send(C, $ARGV[1], 0) if $ARGV[1]; close C if $ARGV[1] eq "hangs up"; push @open, *C{IO} }' \
    "$@" &
  other=$!
  wait_for "the other socket" test -S "$TMPDIR/other"
}
listen stream ''
expect 1 "other is not busd's socket" bus-pub --socket=other t x
kill $other
listen seqpacket 'garbage instead of a greeting'
expect 1 "(does not speak busd's protocol|not busd)" bus-pub --socket=other t x
kill $other
listen seqpacket ''
expect 3 'did not answer within' bus-sub --socket=other t
kill $other

start_busd
topic quiet removed
# Somebody who must not be disturbed by what follows
bus-sub quiet --raw >quiet.got 2>quiet.err &
quiet=$!
wait_for "the subscriber" attached quiet 1

# too long
expect 1 'cannot publish to "t": the input is longer than the ring may grow to \(.* a message\)' \
  sh -c 'head -c 200M /dev/zero | bus-pub t --stdin=whole'
expect 1 'cannot publish to "t": line 3 is longer' sh -c '(echo a; echo b; head -c 200M /dev/zero) | bus-pub t'
same "lines before it" $'a\nb' "$(bus-sub t --from=oldest --until-end)"
expect 1 'message 1 of 1073741824 bytes is longer' bus-pub t --size=1G
expect 1 'chunk 1 of 1073741824 bytes is longer' bus-pub t --stdin=chunks:1G
bus-topic create narrow --bytes=64K --max-bytes=64K || exit 1
expect 1 'message 1 of 40000 bytes is longer than the ring may grow to \(16 KiB a message\)' bus-pub narrow --size=40000
expect 1 'stdin ends within message 2: 2 bytes are left' sh -c 'printf "\001\000\000\000abc" | bus-pub t --stdin=length'

# patterns and names that busd refuses
expect 2 'cannot subscribe to "a.>.b": .*not at its end' bus-sub 'a.>.b'
expect 2 'cannot subscribe to "": ' bus-sub ''

# descriptors
expect 1 'out of file descriptors' bash -c 'ulimit -n 5; bus-pub t x'
expect 1 'out of file descriptors' bash -c 'ulimit -n 5; bus-sub t'

# a topic removed under its users
bus-sub removed --raw >got 2>err &
sub=$!
wait_for "the subscriber" attached removed 1
(echo before; sleep 1; echo after) | bus-pub removed 2>said &
pub=$!
wait_for "the message" grep -q before got
expect 1 'in use|has 1 ' bus-topic rm removed
expect 0 '' bus-topic rm --force removed
wait $pub
same "a publisher on a topic removed" 1 $?
grep -q 'cannot publish to "removed" (line 2): the topic was removed' said || note_failure "it says: $(cat said)"
kill $sub
wait $sub

bus-pub quiet "all the time"
wait_for "the quiet one" grep -q 'all the time' quiet.got
kill $quiet
wait $quiet
same "the undisturbed subscriber's complaints" '' "$(cat quiet.err)"
finish
