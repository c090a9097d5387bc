# For scripts that use the tools as a user does. Sourced; needs what tests/run.sh sets.
# shellcheck shell=bash
set -u
cd "$TMPDIR" || exit 1
PATH=$BUS_BUILD:$PATH
export PATH BUS_AUTOSTART=0
failures=0
[ -x "$BUS_BUILD/bus-pub" ] || { echo "$BUS_BUILD/bus-pub is missing"; exit 1; }

note_failure() {
  echo "FAILED: $1"
  failures=$((failures + 1))
}

# busd of this test's own; its pid in $busd, its socket in $BUS_SOCKET
start_busd() {
  export BUS_SOCKET=$TMPDIR/bus.sock
  busd --foreground --socket "$BUS_SOCKET" --data-dir "$TMPDIR/data" "$@" 2>"$TMPDIR/busd.log" &
  busd=$!
  wait_for "busd to listen" test -S "$BUS_SOCKET"
}

# wait_for WHAT COMMAND...: until the command succeeds; ends the test after 20 s
wait_for() {
  local what=$1 try
  shift
  for ((try = 0; try < 1000; try++)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.02
  done
  echo "FAILED: waiting for $what"
  exit 1
}

# attached TOPIC N: whether N subscribers are there; the topic must exist
attached() { bus-topic info "$1" --json 2>/dev/null | grep -q "\"subscribers\":$2[,}]"; }

# topic NAME...: created
topic() {
  local name
  for name in "$@"; do bus-topic create "$name" || exit 1; done
}

# expect CODE REGEX COMMAND...: the exit code, and what stdout and stderr together must match ("": nothing at all)
expect() {
  local code=$1 regex=$2 said got
  shift 2
  said=$("$@" 2>&1 </dev/null)
  got=$?
  [ $got -eq "$code" ] || note_failure "$*: exit code $got, not $code: $said"
  if [ -z "$regex" ]; then
    [ -z "$said" ] || note_failure "$*: said \"$said\""
  else
    grep -qE -- "$regex" <<<"$said" || note_failure "$*: said \"$said\", not /$regex/"
  fi
}

# same WHAT WANTED GOT
same() { [ "$2" = "$3" ] || note_failure "$1: \"${3:0:500}\" instead of \"${2:0:500}\""; }

finish() {
  [ -z "${busd:-}" ] || { kill "$busd" && wait "$busd"; }
  [ $failures -eq 0 ] || exit 1
}
