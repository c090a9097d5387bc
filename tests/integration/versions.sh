#!/bin/bash
# Proves: libraries and busd of this version and of the next serve each other: all pairings publish, read, grow, evict and
# follow wildcards; busd is upgraded and put back under load, with clients of both attached, unless something is open
# that only the next one knows; what is not understood, or not spoken any more, is refused in words.
# timeout: 200
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh
next=$BUS_BUILD/next
tool=$BUS_BUILD/tests/integration/versions
[ -x "$next/only/busd" ] || { echo "$next is not built"; exit 1; }

# place LIB: of this library, the next one, or one that speaks the next version only
place() {
  case $1 in
    now) echo "$BUS_BUILD" ;;
    next) echo "$next" ;;
    only) echo "$next/only" ;;
  esac
}
# with LIB COMMAND...
with() {
  local lib
  lib=$(place "$1")
  shift
  LD_LIBRARY_PATH=$lib "$@"
}
# start_version now|next|only: a busd of it, from a place of its own
start_version() {
  mkdir -p bin
  put_program "$1"
  PATH=$TMPDIR/bin:$PATH
  start_busd --foreground
}
# put_program now|next|only: lies at busd's path from now on
put_program() {
  cp "$(place "$1")/busd" bin/new
  mv bin/new bin/busd
}
stop_busd() {
  kill "$busd"
  wait "$busd" || note_failure "busd ended with $?"
  busd=
}
serves() { bus-stat metrics 2>/dev/null | grep -q "bus_build_info{version=\"$1\"}"; }
logged() { grep -q "$1" busd.log; }

# pair TOPIC PUBLISHER SUBSCRIBER: wildcard, two publishers, messages that make rings grow, each message checked
pair() {
  local topic=$1 sub one two
  with "$3" "$tool" sub "$topic.*" 1600 >"$topic.got" 2>&1 &
  sub=$!
  topic "$topic.one"
  wait_for "the subscriber" attached "$topic.one" 1
  with "$2" "$tool" pub "$topic.one" 800 >said.one 2>&1 &
  one=$!
  with "$2" "$tool" pub "$topic.two" 800 >said.two 2>&1 &
  two=$!
  wait $one || note_failure "$topic: publisher: $(cat said.one)"
  wait $two || note_failure "$topic: publisher: $(cat said.two)"
  wait $sub || note_failure "$topic: subscriber: $(cat "$topic.got")"
  same "$topic: read" "1600 speaker speaker" "$(cat "$topic.got")"
}

# evicted TOPIC PUBLISHER SUBSCRIBER: one that stands still is taken off, counts what it missed, and reads on
evicted() {
  local topic=$1 reader lost
  topic "$topic"
  rm -f go
  with "$3" bus-sub "$topic" --raw --timeout=1s 2>err | (until [ -e go ]; do sleep 0.02; done; cat) >got &
  reader=$!
  wait_for "the subscriber" attached "$topic" 1
  with "$2" bus-pub "$topic" --full-time=200ms <lines || note_failure "$topic: held up"
  with "$2" bus-pub "$topic" "one more"
  touch go
  wait $reader
  grep -q 'was too slow and was evicted' err || note_failure "$topic: eviction was not said: $(cat err)"
  lost=$(sed -nE 's/^bus-sub: lost ([0-9]+) messages( of [0-9]+ publishers?)?$/\1/p' err)
  same "$topic: arrived and lost" 300001 "$(($(wc -l <got) + ${lost:-0}))"
}

seq 300000 >lines
for daemon in now next; do
  start_version $daemon
  for pub in now next; do
    for sub in now next; do
      pair "p-$daemon-$pub-$sub" $pub $sub
      evicted "e-$daemon-$pub-$sub" $pub $sub
    done
  done
  [ $daemon = now ] || break # goes on below
  # what only the next version has is asked for: refused, with both versions and what to do
  BUS_NEXT_LABEL=7 expect 1 'busd 0.1.0 \(protocol version 3\) does not know, and the client.s library \(version 4\) does; .*busd --upgrade' \
    with next "$tool" pub labelled 10
  # a library that does not speak this busd's version
  expect 1 'busd 0.1.0 speaks protocol version 3, the client version 4; .*here busd is the older one' with only "$tool" pub x 1
  expect 1 'speaks protocol version 3, the client version 4;' with only bus-pub x y
  stop_busd
done

# label: both of the next version understand it; a subscriber of this one does without
label() {
  local topic=$1 value=$2 wanted=$3 sub=$4 pid
  with "$sub" "$tool" sub "$topic" 100 >label.got 2>label.err &
  pid=$!
  topic "$topic"
  wait_for "the subscriber" attached "$topic" 1
  BUS_NEXT_LABEL=$value with next "$tool" pub "$topic" 100 >label.sent || note_failure "$topic: $(cat label.sent)"
  if [ -z "$wanted" ]; then # a ring that it cannot read: says so, holds nobody up, and reads what else comes
    with next "$tool" pub "$topic" 100 >label.sent || note_failure "$topic: $(cat label.sent)"
    grep -q "publisher \"speaker\" on \"$topic\" has a ring (features 0x1) that this library (0.1.0) cannot read: .*newer libbus" \
      label.err || note_failure "$topic: says $(cat label.err)"
    wanted="100 speaker"
  else
    same "$topic: complaints" '' "$(cat label.err)"
  fi
  wait $pid || note_failure "$topic: subscriber: $(cat label.err)"
  same "$topic: read" "$wanted" "$(cat label.got)"
}
label labelled.next 7 "100 speaker#7" next
label labelled.now 7 "100 speaker" now
label feature.next 1000 "100 speaker#1000" next
label feature.now 1000 '' now
# what speaks the next version only, and what does not
with only "$tool" pub only.next 10 >said || note_failure "the next library: $(cat said)"
stop_busd
start_version only
expect 1 'busd 0.1.0-next speaks protocol version 4, the client version 3; .*here the library is the older one' "$tool" pub x 1
expect 1 'speaks protocol version 4, the client version 3;' bus-topic ls
with next "$tool" pub only.next 10 >said || note_failure "the next library: $(cat said)"
stop_busd

# ---- under load
start_version now
for lib in now next; do
  LD_LIBRARY_PATH=$(place $lib) "$tool" sub 'load.*' 0 >"sub.$lib" 2>&1 &
  subs+=($!)
done
for lib in now next; do
  topic "load.$lib"
  wait_for "subscribers" attached "load.$lib" 2
  LD_LIBRARY_PATH=$(place $lib) "$tool" pub "load.$lib" 0 >"pub.$lib" 2>&1 &
  pubs+=($!)
done
numbers() { bus-stat topic "load.$1" --json | grep -o '"messages":[0-9]*' | head -n 1 | cut -d : -f 2; }
is_beyond() { [ "$(numbers "$1")" -gt "$2" ]; }
both_flow() {
  local lib
  for lib in now next; do wait_for "load.$lib to flow" is_beyond $lib "$(numbers $lib)"; done
}
both_flow
# to VERSION TEXT: busd goes over to it
to() {
  local old
  old=$(worker)
  put_program "$1"
  expect 0 'replaces its worker' busd --upgrade --socket "$BUS_SOCKET"
  wait_for "another worker" another_than "$old"
  wait_for "busd $2" serves "$2"
  both_flow
}
# stays VERSION TEXT WHY: busd does not
stays() {
  local said
  said=$(grep -c 'the program that served last goes on' busd.log)
  put_program "$1"
  expect 0 'replaces its worker' busd --upgrade --socket "$BUS_SOCKET"
  wait_for "the refusal" eval "[ \$(grep -c 'the program that served last goes on' busd.log) -gt $said ]"
  wait_for "busd $2" serves "$2"
  logged "$3" || note_failure "going over to $1: the log says $(tail -n 5 busd.log)"
  both_flow
}
to next 0.1.0-next
to now 0.1.0
to next 0.1.0-next
expect 0 '' bus-topic create meanwhile
# a publisher with a label: the former version does not know what that is
BUS_NEXT_LABEL=9 LD_LIBRARY_PATH=$next "$tool" pub load.label 0 >pub.label 2>&1 &
labelled=$!
wait_for "the labelled publisher" eval 'bus-topic info load.label --json | grep -q "\"publishers\":1"'
stays now 0.1.0-next 'the former worker (busd 0.1.0-next) noted what busd 0.1.0 does not know (more in a record of kind'
kill $labelled
wait $labelled || note_failure "the labelled publisher: $(cat pub.label)"
bus-topic rm --force load.label
wait_for "its ring to go" eval '! bus-topic info load.label'
to now 0.1.0
# nor does one that speaks the next version only take over clients of this one
stays only 0.1.0 '(pid [0-9]*) is attached by a library that speaks protocol version 3, and busd 0.1.0-next speaks 4: start it anew'
kill "${pubs[@]}"
sent=0
for lib in now next; do
  wait "${pubs[0]}" || note_failure "publisher $lib: $(cat pub.$lib)"
  pubs=("${pubs[@]:1}")
  sent=$((sent + $(cat pub.$lib)))
done
sleep 0.5
kill "${subs[@]}"
for lib in now next; do
  wait "${subs[0]}" || note_failure "subscriber $lib: $(cat sub.$lib)"
  subs=("${subs[@]:1}")
  same "read by $lib" "$((sent + $(cat pub.label)))" "$(cut -d ' ' -f 1 sub.$lib)"
done
grep -E 'left out of the former|signal (6|7|11)' busd.log && note_failure "a worker came to harm"
finish
