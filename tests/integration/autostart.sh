#!/bin/bash
# Proves: with no configuration anywhere, clients find or start one private busd, however many come at once and
# even while it is leaving; it goes when they have gone; what a dead one left is coped with; a place that others
# can write to is refused, and so is a path that is no place for a socket.
# timeout: 240
. tests/integration/lib_tools.sh
unset BUS_SOCKET BUS_AUTOSTART
instrument=$BUS_BUILD/tests/integration/autostart
if [ -e /run/busd/bus.sock ]; then
  echo "this machine has a busd at /run/busd/bus.sock: clients would find it"
  exit 77
fi

# place NAME: an empty runtime directory; the socket will be $sock
place() {
  export XDG_RUNTIME_DIR=$TMPDIR/$1
  mkdir -m 700 "$XDG_RUNTIME_DIR" || exit 1
  sock=$XDG_RUNTIME_DIR/busd/bus.sock
}

# daemons PATH: pids of the busd that were told this socket
daemons() { pgrep -f -- "busd .*--socket $1( |\$)"; }
none_left() { [ -z "$(daemons "$1")" ]; }
# stop: the private busd of this place, by the pid in its lock
stop() {
  kill "$(cat "$sock.lock")"
  wait_for "the private busd to leave" none_left "$sock"
}
# connected N: whether N subscriptions are there (bus-stat starts no busd)
subscribed() { [ "$(bus-stat clients --json 2>/dev/null | grep -o '"subscriptions":1' | wc -l)" = "$1" ]; }

# ---- a pipeline and nothing else, both at once: the later of the two finds the busd of the other
export BUS_PRIVATE_IDLE_MS=1500
for round in 1 2 3 4 5; do
  place "pipe$round"
  timeout 30 bus-sub prices --count 3 --raw --from=oldest >got 2>said &
  sub=$!
  printf '1\n2\n3\n' | bus-pub prices || note_failure "bus-pub: exit code $?"
  wait $sub || note_failure "bus-sub: exit code $?, $(cat said)"
  same "what came through" $'1\n2\n3' "$(cat got)"
  same "bus-sub's complaints" '' "$(cat said)"
  same "mode of its directory" 700 "$(stat -c %a "$XDG_RUNTIME_DIR/busd")"
  same "mode of its socket" 600 "$(stat -c %a "$sock")"
done
# the subscriber first, as people type it
place typed
export BUS_PRIVATE_IDLE_MS=5000
bus-sub prices --count 3 --raw >got &
sub=$!
wait_for "the subscriber" subscribed 1
printf '1\n2\n3\n' | bus-pub prices
wait $sub || note_failure "bus-sub: exit code $?"
same "what came through" $'1\n2\n3' "$(cat got)"
same "how many busd" 1 "$(daemons "$sock" | wc -l)"
expect 0 "^busd .*\(private\).*$sock" bus-stat

# ---- it leaves when nobody has been there for that time, with its socket
wait_for "it to leave when idle" none_left "$sock"
[ -e "$sock" ] && note_failure "it left its socket"

# ---- twenty at once, ten times
export BUS_PRIVATE_IDLE_MS=100
place crowd
"$instrument" crowd 20 10 || note_failure "twenty clients at once"
# the same with tools: all are on one bus, for all get one message
export BUS_PRIVATE_IDLE_MS=5000
place tools
subs=()
for i in {1..20}; do
  timeout 60 bus-sub crowd --count=1 --raw >"got.$i" 2>"said.$i" &
  subs+=($!)
done
wait_for "twenty subscribers" subscribed 20
same "how many busd" 1 "$(daemons "$sock" | wc -l)"
bus-pub crowd 'to all'
for i in {1..20}; do
  wait "${subs[i - 1]}" || note_failure "bus-sub $i: exit code $?, $(cat "said.$i")"
  same "what $i got" 'to all' "$(cat "got.$i")"
done
stop

# ---- clients that come while it leaves: each is served, by it or by the next
export BUS_PRIVATE_IDLE_MS=1
place leaving
met=$("$instrument" leaving 3 60) || note_failure "a client was not served while a private busd left: $met"
[ "${met:-0}" -gt 10 ] || note_failure "only $met busd were met in 180 connections: nothing left under a client"
export BUS_PRIVATE_IDLE_MS=60000

# ---- none may be started
place forbidden
BUS_AUTOSTART=0 expect 3 'no busd runs .*XDG_RUNTIME_DIR|no busd runs .*none may be started' bus-pub t x
[ -e "$sock.lock" ] && note_failure "BUS_AUTOSTART=0 started one"
# a path that is named is never started for: who names one runs it
BUS_SOCKET=$TMPDIR/named expect 3 'no busd listens at .*named' bus-pub t x
expect 3 'no busd listens at .*named' bus-pub --socket="$TMPDIR/named" t x
[ -e named ] && note_failure "a busd was started at a path that was named"
# one that cannot be started is named
BUS_BUSD=/nonexistent/busd expect 3 'no busd runs and /nonexistent/busd cannot be started: No such file' bus-pub t x
BUS_BUSD=/bin/false expect 3 'no busd runs and /bin/false --private .* failed' bus-pub t x

# ---- what a dead one left
place stale
bus-pub t x || note_failure "no busd"
kill -9 "$(cat "$sock.lock")"
wait_for "its death" none_left "$sock"
[ -S "$sock" ] || note_failure "a killed busd took its socket along?"
expect 0 '' bus-pub t x
same "busd after a killed one" 1 "$(daemons "$sock" | wc -l)"
stop
echo 'no number' >"$sock.lock" # a lock that nobody holds, of somebody who runs or not
expect 0 '' bus-pub t x
stop
echo $$ >"$sock.lock"
expect 0 '' bus-pub t x
# its lock was cleaned away under it: it is found all the same, and no second one takes its socket
pid=$(cat "$sock.lock")
rm "$sock.lock"
expect 0 '' bus-pub t x
expect 1 "somebody listens at $sock already" busd --foreground --socket "$sock"
expect 0 '' busd --private --socket "$sock"
same "busd without its lock" "$pid" "$(daemons "$sock")"
expect 0 '' bus-topic create still.there
kill "$pid"
wait_for "it to leave" none_left "$sock"

# ---- a place where others could put their own socket
place writable
mkdir -m 777 "$XDG_RUNTIME_DIR/busd"
expect 4 "$XDG_RUNTIME_DIR/busd is not a directory that only this user can write" bus-pub t x
chmod 770 "$XDG_RUNTIME_DIR/busd"
expect 4 "is not a directory that only this user can write" bus-pub t x
place link
mkdir -m 700 aside
ln -s "$TMPDIR/aside" "$XDG_RUNTIME_DIR/busd"
expect 4 "is not a directory that only this user can write" bus-pub t x
place file
touch "$XDG_RUNTIME_DIR/busd"
expect 4 "is not a directory that only this user can write" bus-pub t x
if [ "$(id -u)" = 0 ]; then
  place foreign
  mkdir -m 755 "$XDG_RUNTIME_DIR/busd"
  chown 65534 "$XDG_RUNTIME_DIR/busd"
  expect 4 "is not a directory that only this user can write" bus-pub t x
fi
# no XDG_RUNTIME_DIR: a directory in /tmp by the user's number, made by whoever was first
user=$((60000 + $$ % 5000))
as_user() { setpriv --reuid=$user --regid=$user --clear-groups env -u XDG_RUNTIME_DIR -u STATE_DIRECTORY "XDG_STATE_HOME=$TMPDIR" "$@"; }
if [ "$(id -u)" = 0 ] && [ ! -e /tmp/busd-$user ] && as_user test -x "$BUS_BUILD/bus-pub"; then
  mkdir /tmp/busd-$user
  expect 4 "/tmp/busd-$user is not a directory that only this user can write" as_user bus-pub t x
  rmdir /tmp/busd-$user
  BUS_PRIVATE_IDLE_MS=200 expect 0 '' as_user bus-pub t x
  same "owner and mode" "$user 700" "$(stat -c '%u %a' /tmp/busd-$user)"
  wait_for "the busd of user $user to leave" none_left /tmp/busd-$user/bus.sock
  rm -r /tmp/busd-$user
fi
XDG_RUNTIME_DIR=$TMPDIR/absent expect 3 "cannot make $TMPDIR/absent/busd for a private busd: No such file" bus-pub t x

# ---- paths that are no place for a socket, each said before anything is touched
expect 2 '--socket: the path is empty' busd --socket '' --foreground
[ -e .lock ] && note_failure "an empty path made a lock"
echo precious >document
expect 1 "$TMPDIR/document is there and no socket" busd --socket document --foreground
same "a file named by mistake" precious "$(cat document)"
expect 1 'aside is there and no socket' busd --socket aside --foreground
perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) && bind(S, sockaddr_un("other")) && listen(S, 5) or die $!; sleep 60' &
other=$!
wait_for "another program's socket" test -S other
expect 1 "somebody listens at $TMPDIR/other already" busd --socket other --foreground
[ -S other ] || note_failure "another program's socket was removed"
kill $other
# a relative path is meant from here, for a daemon too
mkdir -p sub
expect 0 '' busd --socket sub/relative.sock
pid=$(cat sub/relative.sock.lock)
expect 0 '' bus-topic --socket=sub/relative.sock create t
expect 0 "$TMPDIR/sub/relative.sock" bus-stat --socket=sub/relative.sock
kill "$pid"
gone() { [ ! -e sub/relative.sock ]; }
wait_for "the socket of a relative path to go" gone
finish
