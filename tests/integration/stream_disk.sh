#!/bin/bash
# Proves: a million lines published with --wait=durable and --name, all of busd and the publisher killed by -9
# in the midst of it, started and published again: the log has the input byte for byte, nothing missing, nothing
# twice. What was acknowledged as durable is in the log whenever busd is killed. A worker killed again and
# again under load costs nothing, on disk either; policies none and interval likewise. Messages with keys and headers
# of any length are in the log as they were sent.
# timeout: 240
# shellcheck source=tests/integration/lib_worker.sh disable=SC1091
. tests/integration/lib_worker.sh
# shellcheck source=tests/integration/lib_tools.sh disable=SC1091
. tests/integration/lib_tools.sh
# shellcheck source=tests/integration/lib_disk.sh disable=SC1091
. "$OLDPWD/tests/integration/lib_disk.sh"

seq 1 1000000 >lines
start_busd

# ---- all killed in the midst
publish() { exec bus-pub "$1" --stdin=lines --wait=durable --name=me --resume "${@:3}" <"$2" 2>pub.log; }
some_durable() { [ "$(info big durable_seq)" -gt 150000 ]; }
bus-topic create big --stream || exit 1
publish big lines --rate=40k &
pub=$!
wait_for "some of it on disk" some_durable
kill -STOP $pub
kill_all
kill -KILL $pub 2>/dev/null
wait $pub 2>/dev/null
log_of big >got
before=$(wc -l <got)
[ "$before" -gt 150000 ] && [ "$before" -lt 1000000 ] || note_failure "killed with $before lines on disk, not in the midst"
cmp -s got <(head -n "$before" lines) || note_failure "what is on disk after the kill is not what was published"
start_busd
(publish big lines) || note_failure "the second run failed: $(cat pub.log)"
grep -q "has the first" pub.log || note_failure "the publisher was not told where it stood: $(cat pub.log)"
log_of big >got
cmp got lines || note_failure "the log differs from the input: $(wc -l <got) lines"
expect 0 'sound' bus-fsck "$TMPDIR/data/streams/big"

# ---- keys and headers of any length, in the slot and beside it
bus-topic create keyed --stream || exit 1
key=
for i in {1..26}; do
  key+=k
  printf '%s\n' "" "$i" "a line of $i" | bus-pub keyed --stdin=lines --key="$key" --wait=durable 2>pub.log ||
    note_failure "key of $i bytes: $(cat pub.log)"
  bus-pub keyed "$i" -H "h:$key" --wait=durable || note_failure "header of $i bytes"
done
kill_all
expect 0 'sound' bus-fsck "$TMPDIR/data/streams/keyed"
log_of keyed >got
cmp got <(for i in {1..26}; do printf '%s\n' "" "$i" "a line of $i" "$i"; done) || note_failure "keyed: $(head -c 300 gaps.txt)"
start_busd

# ---- how long its syncs take is shown
bus-topic create timed --stream || exit 1
seq 1 100 | bus-pub timed --stdin=lines --wait=durable || note_failure "it cannot be published to"
expect 0 '[1-9][0-9]* syncs, half of them within [0-9.]+ [um]s' bus-stat topic timed
bus-stat metrics >metrics.txt
grep -Eq '^bus_spill_fsync_seconds_count\{topic="timed"\} [1-9]' metrics.txt || note_failure "no sync is counted"
grep -Eq '^bus_spill_fsync_seconds_sum\{topic="timed"\} 0*[0-9.]*[1-9]' metrics.txt || note_failure "syncs took no time"

# ---- what was said to be durable is there
bus-topic create said --stream || exit 1
for round in 1 2 3; do
  # each chunk is acknowledged before it is counted
  (
    first=$(($(cat said.count 2>/dev/null || echo 0) + 1))
    for ((i = first; ; i += 500)); do
      seq 1 $((i + 499)) | bus-pub said --stdin=lines --wait=durable --name=me --resume 2>/dev/null || break
      echo $((i + 499)) >said.next && mv said.next said.count
    done
  ) &
  chunks=$!
  sleep 0.$((3 + round))
  kill -STOP $chunks
  kill_all
  kill -CONT $chunks
  wait $chunks
  log_of said >got
  count=$(cat said.count)
  [ "$count" -gt 0 ] || note_failure "nothing was acknowledged"
  [ "$(wc -l <got)" -ge "$count" ] || note_failure "acknowledged were $count lines, on disk are $(wc -l <got)"
  cmp -s got <(seq 1 "$(wc -l <got)") || note_failure "round $round: the log is not the input's beginning"
  start_busd
done

# ---- the worker dies under load
for how in none interval:5 batch; do
  name=w.${how%%:*}
  bus-topic create "$name" --stream --sync=$how || exit 1
  level=durable
  [ $how != none ] || level=stream
  bus-pub "$name" --stdin=lines --wait=$level --name=me --rate=400k <lines 2>pub.log &
  pub=$!
  for _ in {1..5}; do
    sleep 0.3
    kill_worker
  done
  wait $pub || note_failure "$how: the publisher failed: $(cat pub.log)"
  [ $how != none ] || wait_for "it to be written" eval 'log_of w.none | tail -n 1 | grep -qx 1000000'
  log_of "$name" >got
  cmp got lines || note_failure "$how: the log differs from the input: $(wc -l <got) lines; $(cat gaps.txt)"
  same "$how: policy" "$how" "$(info "$name" sync)"
done
expect 1 'sync policy none' bus-pub w.none x --wait=durable
finish
