#!/bin/bash
# The main job on real input: one file crosses the bus from a publisher to two subscribers, four
# processes with busd, and arrives as it was.
#
#   scripts/demo.sh [FILE]        or: make demo FILE=path
#
# First with a slow subscriber, which holds the publisher back (nothing is lost, nothing piles up in
# memory), then once more without it. FILE is by default some large file of this machine.
# $BUS_BUILD: the build directory. Exit code 0: all checksums agree. Nothing is left behind.
set -u

build=${BUS_BUILD:-$(dirname "$0")/../build}
chunk=$((32 * 1024))
slow_seconds=4 # what the slow subscriber is to take for the file
topic=demo.file

die() {
  echo "FAIL: $*"
  exit 1
}

# A file that any machine with a compiler has: the largest of these below 64 MiB, so that it does not take long.
pick_file() {
  find -L "$(gcc -print-prog-name=cc1 2>/dev/null)" "$(gcc -print-prog-name=cc1plus 2>/dev/null)" \
    /usr/lib/*/libLLVM*.so* /usr/lib/*/libicudata.so* /usr/bin/gdb /bin/bash \
    -maxdepth 0 -type f -readable -size -64M -printf '%s %p\n' 2>/dev/null |
    sort -n | tail -n 1 | cut -d ' ' -f 2-
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }
per_second() { awk -v b="$1" -v ms="$2" 'BEGIN { printf "%.0f MB/s", b / 1e6 / ((ms > 0 ? ms : 1) / 1e3) }'; }
# number KEY: the first number of that key in JSON on stdin
number() { grep -oE "\"$1\":[0-9.e+-]+" | head -n 1 | cut -d : -f 2; }
bus() { "$build/bus" --socket="$dir/bus.sock" "$@"; }

# Every process that is started is noted here, so that it can be stopped.
pids=()

clean_up() {
  trap - EXIT INT TERM
  kill "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
  rm -rf "$dir"
}

# subscriber NAME OPTION...: a bus-sub whose output a sha256sum reads
subscriber() {
  local name=$1
  shift
  rm -f "$dir/$name.pipe"
  mkfifo "$dir/$name.pipe" || die "cannot make a pipe"
  sha256sum <"$dir/$name.pipe" >"$dir/$name.sum" &
  sum_pid[$name]=$!
  "$build/bus-sub" --socket="$dir/bus.sock" --name="$name" --stdout=whole --count="$messages" \
    --timeout=20s "$@" "$topic" >"$dir/$name.pipe" &
  sub_pid[$name]=$!
  pids+=("${sum_pid[$name]}" "${sub_pid[$name]}")
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
  local end=$(($(now_ms) + $1 * 1000)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(now_ms)" -lt $end ] || die "$what did not happen in time"
    sleep 0.02
  done
}

attached() { [ "$(bus topic info "$topic" --json | number subscribers)" = "$1" ]; }

publish() {
  "$build/bus-pub" --socket="$dir/bus.sock" --name=publisher --stdin=chunks:$chunk --json \
    "$topic" <"$file" >"$dir/pub.json" &
  pub_pid=$!
  pids+=("$pub_pid")
}

# finish NAME: waits for the subscriber, compares; its line of the table
finish() {
  local name=$1 sum verdict=same
  wait "${sub_pid[$name]}" || die "subscriber $name failed"
  wait "${sum_pid[$name]}"
  read -r sum _ <"$dir/$name.sum"
  if [ "$sum" != "$want" ]; then
    verdict='NOT THE SAME'
    failed=1
  fi
  printf '  %-10s %s  %s\n' "$name" "$sum" "$verdict"
}

# While the slow run goes on: what bus-stat shows, and how long the publisher has been blocked.
watch_publisher() {
  local taken='' blocked
  blocked_seconds=0
  while kill -0 "$pub_pid" 2>/dev/null; do
    sleep 0.2
    blocked=$(bus stat topic "$topic" --json 2>/dev/null | number blocked_seconds)
    [ -n "$blocked" ] && blocked_seconds=$blocked
    if [ -z "$taken" ] && awk -v b="$blocked_seconds" 'BEGIN { exit !(b > 1) }'; then
      { bus stat; echo; bus stat topic "$topic"; } >"$dir/screen" 2>&1 || die "bus-stat failed: $(cat "$dir/screen")"
      taken=yes
    fi
  done
  wait "$pub_pid" || die "the publisher failed"
}

figures() {
  local sent seconds_ms=$1
  sent=$(number bytes <"$dir/pub.json")
  [ "$sent" = "$bytes" ] || die "the publisher sent $sent bytes of $bytes"
  printf '  %s messages, %s in %d.%02d s: %s' "$(number messages <"$dir/pub.json")" "$(mib "$bytes")" \
    $((seconds_ms / 1000)) $((seconds_ms % 1000 / 10)) "$(per_second "$bytes" "$seconds_ms")"
}

[ $# -gt 0 ] && FILE=$1
file=${FILE:-$(pick_file)}
[ -n "$file" ] || die "no large file found here; name one: make demo FILE=path"
[ -f "$file" ] && [ -r "$file" ] || die "$file is not a file that can be read"
for program in busd bus bus-pub bus-sub bus-topic bus-stat; do
  [ -x "$build/$program" ] || die "$build/$program is missing; run make first"
done
bytes=$(stat -L -c %s "$file")
[ "$bytes" -gt 0 ] || die "$file is empty"
messages=$(((bytes + chunk - 1) / chunk))
slow_rate=$((messages / slow_seconds + 1))

dir=$(mktemp -d "${TMPDIR:-/tmp}/bus-demo.XXXXXX") || die "cannot make a directory"
trap clean_up EXIT
trap 'clean_up; exit 130' INT TERM
declare -A sub_pid sum_pid
failed=0

start_ms=$(now_ms)
read -r want _ < <(sha256sum "$file")
sum_ms=$(($(now_ms) - start_ms))
echo "file        $file"
echo "            $bytes bytes, sent as $messages messages of $((chunk / 1024)) KiB"
"$build/busd" --foreground --socket "$dir/bus.sock" --data-dir "$dir/data" 2>"$dir/busd.log" &
pids+=("$!")
wait_for 5 "busd's start" test -S "$dir/bus.sock"
bus topic create "$topic" || die "cannot create the topic"

echo
echo "two subscribers, one of which takes $slow_rate messages a second at most:"
subscriber fast
subscriber slow --rate="$slow_rate"
wait_for 5 "the arrival of both subscribers" attached 2
start_ms=$(now_ms)
publish
watch_publisher
printf '  %-10s %s\n' file "$want"
finish fast
finish slow
figures $(($(now_ms) - start_ms))
printf '; the publisher waited %.1f s for room\n' "$blocked_seconds"

echo
echo "the fast one alone:"
subscriber fast
wait_for 5 "the arrival of the subscriber" attached 1
start_ms=$(now_ms)
publish
wait "$pub_pid" || die "the publisher failed"
finish fast
figures $(($(now_ms) - start_ms))
echo " (sha256sum on the file itself: $(per_second "$bytes" "$sum_ms"))"

echo
echo "bus-stat, while the slow one held the publisher back:"
echo
if [ -s "$dir/screen" ]; then sed 's/^./  &/' "$dir/screen"; else
  echo "  (the publisher was hardly held back: the file is too small for that)"
fi
echo
[ $failed -eq 0 ] || die "what arrived is not what was sent"
echo "OK: what both subscribers got is, byte for byte, the file"
