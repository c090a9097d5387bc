#!/bin/bash
# How long busd takes to start with a stream's log of that many GB: the last segment full of 64-byte messages, those before
# of larger ones. Once without publishers by name (the log's end is all that has to be found), once with one (whose last
# number is in a snapshot, or in the last segment's messages). The files are taken out of the page cache before each start.
#
#   make bench-start              (GB=10, ROUNDS=5, DIR: where; real disk, so not below /dev/shm)
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "${BUS_BUILD:-build}")
gb=${GB:-10} rounds=${ROUNDS:-5}
work=$(mktemp -d "${DIR:-/var/tmp}/bus-bench-start.XXXXXX")
export BUS_SOCKET=$work/bus.sock BUS_AUTOSTART=0
busd=
trap 'stop; rm -rf "$work"' EXIT

# start FILE: the time until a client is answered, in ms, at the end of FILE
start() {
  local begun now
  begun=$(date +%s%N)
  "$build/busd" --foreground --socket "$BUS_SOCKET" --data-dir "$work/data" 2>>"$work/log" &
  busd=$!
  until "$build/bus-topic" info log >"$work/info" 2>/dev/null; do
    kill -0 "$busd" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.002
  done
  now=$(date +%s%N)
  echo $(((now - begun) / 1000000)) >>"$1"
}

# stop [SIGNAL]
stop() {
  if [ -n "$busd" ]; then
    # a keeper that is killed takes its worker along
    kill "${1:--TERM}" "$busd" 2>/dev/null || true
    wait "$busd" 2>/dev/null || true
    rm -f "$BUS_SOCKET"
  fi
  busd=
}

forget() {
  local file
  sync -f "$work"
  for file in "$work"/data/streams/*/*; do
    dd if="$file" iflag=nocache count=0 status=none
  done
}

line() {
  local files
  files=$(find "$work/data/streams" -name '*.log' | wc -l)
  sort -n "$2" | awk -v what="$1" -v files="$files" -v bytes="$(du -sB1000000 "$work/data" | cut -f 1)" '
    { t[NR] = $1 }
    END { printf "%-58s %6.0f ms (%d to %d, %d starts; %.1f GB, %d segments)\n", what, t[int((NR + 1) / 2)], t[1], t[NR],
          NR, bytes / 1000, files }'
}

serve() { # until somebody answers; there may be no topic
  "$build/busd" --foreground --socket "$BUS_SOCKET" --data-dir "$work/data" 2>>"$work/log" &
  busd=$!
  until "$build/bus-topic" ls >/dev/null 2>&1; do
    kill -0 "$busd" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.01
  done
}

# fill [NAME]: as good as a segment of 64-byte messages, which is the last one then
fill() {
  "$build/bus-pub" log --count=500000 --size=64 --full=block --full-time=forever --wait=stream ${1:+--name="$1"}
}

# measure TEXT [NAME]
measure() {
  local i
  rm -f "$work/times"
  for ((i = 0; i < rounds; i++)); do
    fill "${2:-}"
    stop -KILL
    forget
    start "$work/times"
  done
  line "$1" "$work/times"
}

serve
"$build/bus-topic" create log --stream --sync=none
"$build/bus-pub" log --count=$((gb * 1000000000 / 65600)) --size=65536 --full=block --full-time=forever
measure "killed; nobody has a name"
measure "killed; a publisher has a name" me
