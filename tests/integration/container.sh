#!/bin/bash
# Proves: a client in another pid, user, mount, network and IPC namespace that sees nothing of the machine's files but the
# socket (and the programs that it runs) publishes and subscribes; who it is, and that it has died, busd has from the
# kernel, whichever of the two is in the container.
# timeout: 60
. tests/integration/lib_tools.sh

[ "$(id -u)" -eq 0 ] || { echo "needs root, to be several users"; exit 77; }
for tool in unshare setpriv chroot; do
  command -v $tool >/dev/null || { echo "needs $tool"; exit 77; }
done
alice=41001
shared=$(mktemp -d /tmp/bus-container.XXXXXX) || exit 1
trap 'rm -rf "$shared"' EXIT
chmod 755 "$shared"
mkdir "$shared/bin" "$shared/sock" "$shared/root"
cp "$BUS_BUILD"/bus-* "$BUS_BUILD"/libbus.so* "$BUS_BUILD/busd" "$shared/bin"
cp "$BUS_BUILD/tests/integration/container" "$shared/bin"
export LD_LIBRARY_PATH=$shared/bin
chown $alice "$shared/root"
isolate=(setpriv --reuid="$alice" --regid="$alice" --clear-groups unshare --user --map-root-user --pid --fork --kill-child
  --mount --net --ipc --uts)
"${isolate[@]}" true 2>"$TMPDIR/why" || { echo "users may not make namespaces here: $(tail -n 1 "$TMPDIR/why")"; exit 77; }

# inside COMMAND...: in namespaces of its own, below a root directory in which there is little more than the socket
inside() {
  # shellcheck disable=SC2016  # expanded inside
  "${isolate[@]}" bash -c '
    root=$1/root
    mount -t tmpfs none "$root" && cd "$root" || exit 99
    mkdir -p usr dev proc bus run || exit 99
    for d in bin sbin lib lib64; do
      if [ -L /$d ]; then cp -P /$d $d; elif [ -d /$d ]; then mkdir $d && mount --rbind /$d $d; fi
    done
    mount --rbind /usr usr && mount --bind "$1/bin" bus && mount -t proc none proc || exit 99
    touch run/socket dev/null && mount --bind "$2" run/socket && mount --bind /dev/null dev/null || exit 99
    export BUS_SOCKET=/run/socket LD_LIBRARY_PATH=/bus HOME=/
    shift 2
    exec chroot "$root" "$@"' bash "$shared" "$BUS_SOCKET" "$@"
}

# ---- the client in a container
echo "socket_mode: 0666
rules:
  - topics: open.>
    allow: {publish: [$alice], subscribe: [$alice]}" >conf
export BUS_SOCKET=$shared/sock/bus.sock
"$shared/bin/busd" --foreground --socket "$BUS_SOCKET" --config conf 2>busd.log &
busd=$!
wait_for "busd to listen" test -S "$BUS_SOCKET"
inside /bus/bus-pub --version >/dev/null 2>"$TMPDIR/why"
[ $? -eq 99 ] && { echo "cannot mount what a container needs: $(tail -n 1 "$TMPDIR/why")"; kill $busd; exit 77; }

bus-sub 'open.>' --count=3 --json >out 2>&1 &
reader=$!
topic open.a
wait_for "root to subscribe" attached open.a 1
seq 3 | inside /bus/bus-pub open.a --stdin=lines || note_failure "publishing from the container"
wait $reader
same "what came out of the container" "1 2 3" "$(grep -oE '"payload":"[0-9]+"' out | grep -oE '[0-9]+' | xargs)"
same "who published it" "\"uid\":$alice" "$(grep -oE '"uid":[0-9]+' out | sort -u)"
expect 4 'no right to publish' inside /bus/bus-pub closed x
expect 4 'no right to subscribe' inside /bus/bus-sub closed

inside /bus/bus-sub open.a --count=2 --raw >in.out 2>&1 &
reader=$!
wait_for "the container to subscribe" attached open.a 1
bus-pub open.a one && bus-pub open.a two
wait $reader
same "what came into the container" "one two" "$(xargs <in.out)"

# its death: the pid is that of busd's namespace, and a child that keeps the socket does not hide it
inside /bus/container open.a >child.out 2>&1 &
wait_for "the container to subscribe again" attached open.a 1
pid=$(bus-stat topic open.a --json | grep -oE '"subscribers":.*' | grep -oE '"pid":[0-9]+' | grep -oE '[0-9]+')
same "the process that busd names" container "$(cat "/proc/$pid/comm" 2>/dev/null)"
[ "$(cat child.out)" != "$pid" ] || note_failure "the pid of its own namespace was believed"
# one of its namespace's init would take all of it along: this one is not
kill -9 "$pid"
wait_for "its death to be noticed" attached open.a 0
kill $busd
wait $busd

# ---- busd in a container, the clients outside: it has no number for them, but a descriptor
# shellcheck disable=SC2016  # expanded inside
unshare --pid --fork --kill-child --mount-proc --ipc --net "$shared/bin/busd" --foreground --socket "$BUS_SOCKET" \
  --config conf 2>busd.log &
busd=$!
# shellcheck disable=SC2317  # called by wait_for
serves() { bus-topic ls; }
wait_for "busd in a container to serve" serves
topic open.b
setpriv --reuid="$alice" --regid="$alice" --clear-groups "$shared/bin/bus-sub" open.b --count=1 --json >out 2>&1 &
reader=$!
wait_for "Alice to subscribe" attached open.b 1
setpriv --reuid="$alice" --regid="$alice" --clear-groups "$shared/bin/bus-pub" open.b three || note_failure "publishing into it"
wait $reader
grep -q '"payload":"three"' out || note_failure "what came out of it: $(cat out)"
grep -qE "\"uid\":$alice" out || note_failure "who published: $(cat out)"
expect 4 "no right to publish \(uid $alice\)" setpriv --reuid="$alice" --regid="$alice" --clear-groups \
  "$shared/bin/bus-pub" closed x
"$shared/bin/container" open.b >child.out 2>&1 &
client=$!
wait_for "a subscriber" attached open.b 1
kill -9 $client
if [ "$(uname -r | cut -d. -f1)" -gt 6 ] || { [ "$(uname -r | cut -d. -f1)" -eq 6 ] && [ "$(uname -r | cut -d. -f2)" -ge 5 ]; }; then
  wait_for "the death of a process without a number" attached open.b 0
else
  echo "before Linux 6.5 only the hang-up tells of the death of a process in no namespace of busd's"
fi
kill "$(cat child.out)"
wait $client 2>/dev/null
# unshare(1) itself does not listen to signals
kill "$(pgrep -P $busd)"
wait $busd
finish
