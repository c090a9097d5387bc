#!/bin/bash
# busd_start.sh - starting and leaving: who owns the path, private races, idleness, configuration files, signals.
set -u
busd=$BUS_BUILD/busd
dir=$(mktemp -d)
started=()
failures=0

finish() {
  local pid
  # what still runs and has our directory in its command line
  for pid in "${started[@]}"; do
    grep -qsF "$dir" "/proc/$pid/cmdline" && kill "$pid" 2>/dev/null
  done
  rm -rf "$dir"
}
trap finish EXIT

bad() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect WHAT RC TEXT COMMAND...: exit code and a piece of its output
expect() {
  local what=$1 rc=$2 text=$3 out got
  shift 3
  out=$("$@" 2>&1)
  got=$?
  [ $got -eq "$rc" ] || bad "$what: exit code $got, not $rc: $out"
  [[ $out == *"$text"* ]] || bad "$what: no \"$text\" in: $out"
}

# within SECONDS CONDITION...: waits until the command succeeds
within() {
  local end=$(($(date +%s%N) / 1000000 + $1 * 1000))
  shift
  until "$@"; do
    [ $(($(date +%s%N) / 1000000)) -lt $end ] || return 1
    sleep 0.02
  done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
absent() { [ ! -e "$1" ]; }
holder() { cat "$1.lock"; }

# ---- a daemon: the parent's exit says that it listens
s=$dir/d/bus.sock
expect 'daemon starts' 0 '' "$busd" --socket "$s"
pid=$(holder "$s")
started+=("$pid")
[ -S "$s" ] || bad 'no socket once the parent has left'
[ "$(stat -c %a "$s")" = 600 ] || bad "socket mode $(stat -c %a "$s")"
[ "$(ps -o ppid= -p "$pid" | tr -d ' ')" != $$ ] || bad 'still our child'
[ "$(readlink "/proc/$pid/fd/0")" = /dev/null ] || bad 'holds on to stdin'
expect 'a second one' 1 "already running (pid $pid)" "$busd" --socket "$s" --foreground
expect 'a second daemon' 1 "already running (pid $pid)" "$busd" --socket "$s"
expect 'a private one gives way' 0 '' "$busd" --socket "$s" --private
kill "$pid"
within 5 gone "$pid" || bad 'does not leave on SIGTERM'
absent "$s" || bad 'leaves its socket'

# ---- a socket left behind by a busd that was killed is taken over
"$busd" --socket "$s" || bad 'does not start again'
started+=("$(holder "$s")")
kill -9 "$(holder "$s")"
within 5 gone "$(holder "$s")"
[ -S "$s" ] || bad 'kill -9 removed the socket?'
expect 'over a stale socket' 0 '' "$busd" --socket "$s"
started+=("$(holder "$s")")
kill "$(holder "$s")"
within 5 absent "$s" || bad 'socket stays'

# ---- many private ones at once: one wins, nobody complains
s=$dir/p/bus.sock
export BUS_PRIVATE_IDLE_MS=1500
rcs=()
for i in 1 2 3 4 5 6 7 8; do
  "$busd" --private --socket "$s" 2>>"$dir/private.err" &
  rcs+=($!)
done
for p in "${rcs[@]}"; do wait "$p" || bad "a private busd ended with $?"; done
[ -s "$dir/private.err" ] && bad "private ones complain: $(cat "$dir/private.err")"
pid=$(holder "$s")
started+=("$pid")
[ "$(pgrep -fc -- "--socket $s")" -eq 1 ] || bad "$(pgrep -fc -- "--socket $s") private ones run"
expect 'it serves' 0 '' env BUS_SOCKET="$s" "$BUS_BUILD/bus-topic" create t
# idle: it goes, and its socket before it
within 6 gone "$pid" || bad 'a private busd stays for ever'
absent "$s" || bad 'a private busd leaves its socket'

# ---- clients that come while it is about to leave are served by it or by the next one, every one of them
export BUS_PRIVATE_IDLE_MS=0
unset BUS_SOCKET
export XDG_RUNTIME_DIR=$dir/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
if [ ! -e /run/busd/bus.sock ]; then
  for i in $(seq 40); do
    "$BUS_BUILD/bus-topic" ls >/dev/null 2>"$dir/err" || bad "client $i: $(cat "$dir/err")"
  done
fi
unset BUS_PRIVATE_IDLE_MS

# ---- configuration
conf() {
  printf '%b' "$1" >"$dir/c.yaml"
}
conf ''
expect 'an empty file' 0 good "$busd" --config "$dir/c.yaml" --check-config
expect 'the example' 0 good "$busd" --config docs/examples/busd.yaml --check-config
conf '# c\n\ndefaults:\n  slots: 64\n\n\n  slot: 5\n'
expect 'an unknown key' 2 'c.yaml:7: unknown key "slot", did you mean "slots"?' "$busd" --config "$dir/c.yaml" --check-config
expect 'start refuses it too' 2 'c.yaml:7: unknown key' "$busd" --config "$dir/c.yaml" --socket "$dir/x.sock" --foreground
absent "$dir/x.sock" || bad 'a socket in spite of a bad configuration'
expect 'no such file' 2 'No such file' "$busd" --config "$dir/none.yaml" --check-config
expect 'a long path' 1 'longer than 107 bytes' "$busd" --foreground --socket "$dir/$(printf '%0120d' 0)"
expect 'a directory that is not there' 1 'cannot make directory' "$busd" --foreground --socket "$dir/no/such/bus.sock"
expect 'an argument too many' 2 'unexpected argument "x"' "$busd" x
expect 'an unknown option' 2 'busd --help' "$busd" --frobnicate
expect 'help' 0 'Usage: busd' "$busd" -h
expect 'version' 0 'busd 0.' "$busd" --version

# ---- SIGHUP: a bad file is refused and the old one goes on, a good one takes effect; SIGINT leaves in order
s=$dir/h.sock
conf 'socket_mode: 0660\nmemory_limit: 3M\n'
"$busd" --foreground --socket "$s" --config "$dir/c.yaml" 2>"$dir/h.log" &
pid=$!
started+=("$pid")
within 5 test -S "$s"
within 5 grep -q listens "$dir/h.log" || bad 'no word that it listens'
[ "$(stat -c %a "$s")" = 660 ] || bad "socket_mode: $(stat -c %a "$s")"
conf 'memory_limit: lots\n'
kill -HUP $pid
within 5 grep -q 'the present configuration goes on' "$dir/h.log" || bad 'a bad file is not refused on SIGHUP'
grep -q 'c.yaml:1: "lots" is no size' "$dir/h.log" || bad 'not said what is wrong with it'
BUS_SOCKET=$s "$BUS_BUILD/bus-topic" ls >/dev/null || bad 'does not serve after a bad SIGHUP'
conf 'memory_limit: 5M\n'
kill -HUP $pid
within 5 grep -q 'configuration read again' "$dir/h.log" || bad 'not read again'
BUS_SOCKET=$s "$BUS_BUILD/bus-stat" 2>&1 | grep -q 'of 5 MiB' || bad "not in effect: $(BUS_SOCKET=$s "$BUS_BUILD/bus-stat" 2>&1 | head -1)"
kill -INT $pid
wait $pid || bad "SIGINT: exit code $?"
absent "$s" || bad 'SIGINT leaves the socket'

# ---- readiness for a service manager
if command -v python3 >/dev/null; then
  python3 - "$dir/notify" >"$dir/said" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(10)
print(s.recv(100).decode())
PY
  waiter=$!
  within 5 test -S "$dir/notify"
  NOTIFY_SOCKET=$dir/notify "$busd" --foreground --socket "$dir/n.sock" 2>/dev/null &
  pid=$!
  started+=("$pid")
  wait $waiter
  grep -qx 'READY=1' "$dir/said" || bad 'no READY=1'
  grep -qx "MAINPID=$pid" "$dir/said" || bad 'no MAINPID'
  kill $pid
  wait $pid
fi

[ $failures -eq 0 ] && echo 'busd starts and leaves as it should'
exit $((failures > 0))
