#!/bin/bash
# Proves: bus-pub and bus-sub end as filters do: on signals by them, with what was read published and printed;
# quietly where nobody reads; with code 3 when nothing comes; loudly when output cannot be written.
. tests/integration/lib_tools.sh
start_busd
topic sigINT sigTERM pub full behind
set -o pipefail

# bus-sub and a signal, asleep: what it printed is out
for sig in INT TERM; do
  # A job of a script ignores SIGINT unless it is told not to.
  (trap - INT; exec bus-sub sig$sig --raw) >got 2>&1 &
  sub=$!
  wait_for "the subscriber" attached sig$sig 1
  bus-pub sig$sig hello
  wait_for "the message" grep -q hello got
  kill -s $sig $sub
  wait $sub
  code=$?
  same "bus-sub after SIG$sig" $((128 + $(kill -l $sig))) $code
  same "its output" hello "$(cat got)"
done

# bus-pub and a signal: whole lines read are published, the unfinished one is not, and that is said
mkfifo in
bus-sub pub --count=2 --raw --timeout=20s >got &
sub=$!
wait_for "the subscriber" attached pub 1
bus-pub pub <in 2>said &
pub=$!
exec 3>in
printf 'one\ntwo\nunfini' >&3
wait $sub || note_failure "lines before the signal did not arrive"
kill $pub
wait $pub
same "bus-pub after SIGTERM" 143 $?
exec 3>&-
same "what was published" $'one\ntwo' "$(cat got)"
grep -q 'stopped within line 3, which was not published' said || note_failure "it says: $(cat said)"

# Blocked for ever on a full ring, it still goes when it is told to, and says what became of the rest
bus-sub full --rate=1 >got &
sub=$!
wait_for "the subscriber" attached full 1
yes | bus-pub full --full=block --full-time=forever 2>said &
blocked() { bus-stat topic full --json | grep -q '"blocked":true'; }
wait_for "the publisher to be blocked" blocked
pub=$(bus-stat topic full --json | sed -E 's/.*"publishers":\[\{"id":[0-9]+,"pid":([0-9]+).*/\1/')
kill "$pub"
gone() { ! kill -0 "$1"; }
wait_for "a blocked bus-pub to go" gone "$pub"
wait $!
same "a blocked bus-pub after SIGTERM" 143 $?
grep -q '"full" has no room, not all that was read was published' said || note_failure "it says: $(cat said)"
kill $sub
wait $sub

# So does bus-sub, where nobody reads its output but nobody closed it either
mkfifo unread
exec 4<>unread
bus-sub behind --raw >unread &
sub=$!
wait_for "the subscriber" attached behind 1
seq 1 100000 | timeout 2 bus-pub behind --full=block --full-time=500ms 2>said
grep -q 'no room' said || note_failure "bus-sub was not stuck: $(cat said)"
kill $sub
wait_for "a stuck bus-sub to go" gone $sub
exec 4>&-

# Nobody reads the output any more
seq 1 100000 | bus-pub pipe --slots=131072 --bytes=16M
bus-sub pipe --from=oldest 2>said | head -n 1 >got
same "bus-sub | head" 141 $?
same "its line" 1 "$(cat got)"
[ -s said ] && note_failure "it says: $(cat said)"

# Nothing comes
expect 3 'nothing came on "nothing" for 200 ms' bus-sub nothing --timeout=200ms
# What waits behind slow output is read before that is said
bus-sub behind --timeout=500ms 2>/dev/null | (sleep 1.5; cat) >got &
sub=$!
wait_for "the subscriber" attached behind 1
seq 1 20000 | bus-pub behind
wait $sub
seq 1 20000 | cmp - got || note_failure "--timeout gave up on messages that were there"

# Output that cannot be written
expect 1 'bus-sub: cannot write the output: No space left' sh -c 'bus-sub pipe --from=oldest --count=100000 >/dev/full'
expect 1 'bus-topic: cannot write the output: No space left' sh -c 'bus-topic ls --json >/dev/full'
finish
