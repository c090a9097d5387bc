#!/bin/bash
# What a stream that is written to disk costs others: the latency of a live topic beside it, and of a live reader of the
# stream, with spilling on (sync=interval) against off (sync=memory), in turn, everything else alike.
#
#   make bench-beside             (BUS_BUILD, PAIRS=7, SECONDS_EACH=2, RATE=20k, DIR: where the log lies)
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "${BUS_BUILD:-build}")
pairs=${PAIRS:-7} seconds=${SECONDS_EACH:-2} rate=${RATE:-20k}
work=$(mktemp -d "${DIR:-/var/tmp}/bus-bench-beside.XXXXXX")
export BUS_SOCKET=$work/bus.sock BUS_AUTOSTART=0
"$build/busd" --foreground --socket "$BUS_SOCKET" --data-dir "$work/data" 2>"$work/log" &
busd=$! noise=
trap 'kill $noise "$busd" 2>/dev/null; wait $noise "$busd" 2>/dev/null; rm -rf "$work"' EXIT
for _ in {1..500}; do
  [ -S "$BUS_SOCKET" ] && break
  sleep 0.01
done
"$build/bus-topic" create on --stream --sync=interval:10 --max-bytes=1G
"$build/bus-topic" create off --stream --sync=memory

# beside TOPIC: round trips on a live topic while that stream is written to
beside() {
  "$build/bus-pub" "$1" --count=1000000000 --size=256 --rate="$rate" --full=block --full-time=forever &
  noise=$!
  sleep 0.2
  "$build/bus-bench" pair --wait=sleep --duration="${seconds}s" --no-limit --json >>"$work/beside.$1"
  kill $noise
  wait $noise 2>/dev/null || true
  noise=
}

# reader TOPIC: from the publisher to a reader of that stream
reader() {
  "$build/bus-bench" pub --topic="$1" --rate="$rate" --size=256 --wait=sleep --duration="${seconds}s" --no-limit \
    --json >>"$work/reader.$1"
}

for ((i = 0; i < pairs; i++)); do
  for topic in off on; do
    beside $topic
    reader $topic
  done
done

python3 - "$work" <<'PY'
import json, statistics, sys

def rounds(name):
    text, at, found = open(name).read(), 0, []
    while text[at:].strip():
        one, end = json.JSONDecoder().raw_decode(text[at:].lstrip())
        at = len(text) - len(text[at:].lstrip()) + end
        found.append(one.get("rtt_ns") or one["latency_ns"])
    return found

for what, title in ("beside", "round trip on a live topic beside it"), ("reader", "to a live reader of the stream"):
    off, on = rounds(f"{sys.argv[1]}/{what}.off"), rounds(f"{sys.argv[1]}/{what}.on")
    for key in "p50", "p90", "p99":
        ratios = sorted(b[key] / a[key] for a, b in zip(off, on))
        print(f"{title}, {key:4} off {statistics.median(x[key] for x in off) / 1e3:8.1f} us   "
              f"on {statistics.median(x[key] for x in on) / 1e3:8.1f} us   "
              f"x {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}; at most 1.2)")
PY
