# For scripts that keep streams on disk. Sourced after lib_tools.sh (and lib_worker.sh).
# shellcheck shell=bash

# small_disk: data/ is a file system of 40 MB of its own; fill_disk: without room; empty_disk: with room again
small_disk() {
  mkdir data
  mount -t tmpfs -o size=40m none data 2>/dev/null || { echo "a file system cannot be mounted here"; exit 77; }
  trap 'umount -l data' EXIT
}
fill_disk() { head -c 60M /dev/zero >data/filler 2>/dev/null; }
empty_disk() { rm data/filler; }

# log_of TOPIC: what its log has, a line each; gaps go to gaps.txt
log_of() { "$BUS_BUILD/tests/progs/log_cat" "$TMPDIR/data/streams/$1" 2>gaps.txt; }

# kill_all: busd and its worker, by -9, at once
kill_all() {
  local pid
  pid=$(worker)
  kill -STOP "$busd"
  kill -KILL "$pid" "$busd"
  wait "$busd" 2>/dev/null
  wait_for "the worker's end" not_there "$pid"
  rm -f "$BUS_SOCKET"
}
not_there() { ! kill -0 "$1" 2>/dev/null; }

# info TOPIC KEY: of bus-topic info --json, of its log where it has that
info() {
  bus-topic info "$1" --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
print(o.get("log", {}).get(sys.argv[1], o.get(sys.argv[1])))' "$2"
}
info_is() { [ "$(info "$1" "$2")" = "$3" ]; }
