#!/bin/bash
# Proves: where busd's control group has less memory than busd may make, what is too much is refused (exit code 4)
# and busd is not killed for it, several at once included; others go on; without memory_limit it takes half of
# what its group has.
# timeout: 120
. tests/integration/lib_flow.sh
. tests/integration/lib_tools.sh
[ "$(id -u)" -eq 0 ] || { echo "needs root, to make a control group"; exit 77; }

# A group of 64 MiB, of either version
make_group() {
  local base file
  for base in /sys/fs/cgroup /sys/fs/cgroup/memory; do
    group=$base/bus-test.$$
    mkdir "$group" 2>/dev/null || continue
    for file in memory.max memory.limit_in_bytes; do
      [ -e "$group/$file" ] && echo 67108864 2>/dev/null >"$group/$file" && return
    done
    rmdir "$group"
  done
  return 1
}
make_group || { echo "no control group for memory can be made here"; exit 77; }
# Empty once its processes have been buried
remove_group() { [ ! -d "$group" ] || rmdir "$group" 2>/dev/null; }
trap 'kill "${busd:-0}" 2>/dev/null; for _ in {1..100}; do remove_group && break; sleep 0.05; done' EXIT
busd() { echo "$BASHPID" >"$group/cgroup.procs" && exec "$BUS_BUILD/busd" "$@"; }

# ---- nothing said: half of the group's
start_busd
expect 0 ' of 32 MiB ' bus-stat
kill "$busd"
wait "$busd"

# ---- more said than there is
echo 'memory_limit: 1G' >busd.yaml
start_busd --config busd.yaml
expect 0 ' of 1 GiB ' bus-stat
start_flow
bus-topic create big --bytes=128M --max-bytes=128M || exit 1
expect 4 "cannot allocate a ring of 128.* MiB: of the memory of busd's control group [0-9.]+ MiB are free" bus-pub big x
flows
# eight of 16 MiB at once: one gets in at least, no more than three
bus-topic create mid --bytes=16M || exit 1
mkfifo hold
exec 6<>hold
for i in {1..8}; do
  (
    exec 6>&-
    bus-pub mid <hold 2>"said.$i"
    echo $? >"code.$i"
  ) &
  pids[i]=$!
done
# shellcheck disable=SC2317  # called by wait_for
refused() { [ "$(cat code.* 2>/dev/null | grep -c 4)" -ge 5 ]; }
wait_for "five publishers to be refused" refused
grep -hvE "cannot allocate a ring of 16.3 MiB: of the memory of busd's control group" said.* &&
  note_failure "what those said who were refused"
flows
exec 6>&-
wait "${pids[@]}"
cat code.* | grep -qx 0 || note_failure "none of 16 MiB got in"
end_flow
kill -0 "$busd" || note_failure "busd was killed"
finish
