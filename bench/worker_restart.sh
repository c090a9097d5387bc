#!/bin/bash
# What it costs a pair of attached processes that busd's worker is killed and comes back: round trips of 64 bytes,
# both awake, in turn undisturbed and with kill -9 once a second; then what the messages went through.
#
#   make bench-restart            (BUS_BUILD, PAIRS=5, SECONDS_EACH=4)
set -eu
cd "$(dirname "$0")/.."
build=${BUS_BUILD:-build}
pairs=${PAIRS:-5}
seconds=${SECONDS_EACH:-4}
work=$(mktemp -d)
socket=$work/bus.sock
"$build/busd" --foreground --socket "$socket" --data-dir "$work" 2>"$work/log" &
busd=$!
trap 'kill "$busd" 2>/dev/null; wait "$busd" 2>/dev/null; rm -rf "$work"' EXIT
for _ in {1..500}; do
  [ -S "$socket" ] && break
  sleep 0.01
done

worker() {
  local pid=
  read -r pid _ <"/proc/$busd/task/$busd/children" || true
  echo "$pid"
}

# one NAME: a measurement into $work/NAME.N
one() {
  "$build/bus-bench" pair --socket "$socket" --duration "${seconds}s" --no-limit --json >>"$work/$1"
}

kills=0
for ((i = 0; i < pairs; i++)); do
  one calm
  one stormy &
  bench=$!
  sleep 0.5
  while kill -0 $bench 2>/dev/null; do
    pid=$(worker)
    [ -n "$pid" ] && kill -KILL "$pid" && kills=$((kills + 1))
    sleep 1
  done
  wait $bench # it checks each message: a lost or wrong one is its failure
done

restarts=$(grep -c 'worker.*killed' "$work/log" || true)
python3 - "$work" "$kills" "$restarts" <<'PY'
import json, statistics, sys
work, kills, restarts = sys.argv[1:]
def read(name):
    return [json.loads(line) for line in open(f"{work}/{name}")]
calm, stormy = read("calm"), read("stormy")
print(f"{kills} workers killed (busd's log tells of {restarts}) while {sum(r['messages'] for r in stormy):,} "
      "round trips were made and checked")
for key in ("p50", "p99", "p999", "max"):
    a, b = [r["rtt_ns"][key] for r in calm], [r["rtt_ns"][key] for r in stormy]
    ratios = sorted(y / x for x, y in zip(a, b))
    print(f"{key:5} undisturbed {statistics.median(a):>9,.0f} ns   worker killed {statistics.median(b):>9,.0f} ns   "
          f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
PY
