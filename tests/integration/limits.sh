#!/bin/bash
# Proves: what is refused for want of memory, descriptors or room is refused with a sentence and exit code 4 (the
# client's own shortage of descriptors: 1), is there again once somebody leaves, and disturbs nobody: a publisher
# and a subscriber go on all the time.
# timeout: 240
. tests/integration/lib_flow.sh
. tests/integration/lib_tools.sh

# holders N TOPIC: N bus-pub that stay until let_go; exit codes in hold.N, what they say in hold.N.said
holders() {
  local i
  rm -f hold hold.*
  mkfifo hold
  exec 6<>hold
  held=()
  for ((i = 1; i <= $1; i++)); do
    (
      exec 6>&-
      bus-pub "$2" <hold >"hold.$i.said" 2>&1
      echo $? >"hold.$i"
    ) &
    held+=($!)
  done
}
codes() { cat hold.*[0-9] 2>/dev/null; }
# shellcheck disable=SC2317  # called by wait_for
refused() { [ "$(codes | grep -c 4)" -ge "$1" ]; }
# let_go: those that got in leave; there were some, and all others were refused
let_go() {
  exec 6>&-
  wait "${held[@]}"
  codes | grep -qx 0 || note_failure "nobody got in"
  codes | grep -vxE '0|4' && note_failure "exit codes of those who were held: $(codes | sort | uniq -c)"
}

# ---- busd's memory
echo 'memory_limit: 8M' >busd.yaml
start_busd --config busd.yaml
start_flow
topic small
bus-topic create big --bytes=16M --max-bytes=16M || note_failure "a topic takes no memory before somebody publishes"
expect 4 'cannot publish to "big": over the memory limit of busd: 16.3 MiB wanted, .* in use, limit 8.0 MiB; .*memory_limit' \
  bus-pub big x
flows
# a ring that would have to grow beyond it; and the message that fits is published all the same
expect 4 'cannot publish to "small".*over the memory limit of busd: 16.* limit 8.0 MiB' bus-pub small --size=3M
expect 0 '' bus-pub small "it fits"
same "after a message that was too large" "it fits" "$(bus-sub small --from=last --until-end)"
# many of 2 MiB: some get in, the rest is told, and one who leaves makes room
bus-topic create two --bytes=2M || exit 1
holders 6 two
wait_for "publishers to be refused" refused 3
grep -h . hold.*.said | grep -v 'cannot publish to "two": over the memory limit of busd: 2.3 MiB wanted, .* limit 8.0 MiB' &&
  note_failure "what those said who were refused"
flows
let_go
expect 0 '' bus-pub two x
flows

# ---- the client's memory
echo 'memory_limit: 512M' >busd.yaml
kill -HUP "$busd"
more() { bus-stat | grep -q 'of 512 MiB'; }
wait_for "the new limit" more
bus-topic create wide --bytes=64M --max-bytes=64M || exit 1
if [ -z "$BUS_SAN" ]; then # a sanitizer needs all of the address space
  expect 4 'cannot map a ring of 6[0-9]* bytes: Cannot allocate memory' \
    bash -c 'ulimit -v 60000; bus-pub wide x'
  expect 0 '' bus-pub wide x
  expect 1 'cannot subscribe to "wide": the rings of a subscription did not arrive: .*memory' \
    bash -c 'ulimit -v 60000; bus-sub wide --from=oldest --until-end'
  same "with memory" x "$(bus-sub wide --from=oldest --until-end)"
fi
flows

# ---- the client's descriptors: at every limit it works, or says why
topic files
bus-pub files x || exit 1
worked=0 short=0
for ((n = 4; n < 16; n++)); do
  for command in 'bus-pub files y' 'bus-sub files --from=last --until-end' 'bus-stat'; do
    said=$(bash -c "ulimit -n $n; exec $command" 2>&1 >/dev/null)
    code=$?
    case $code in
      0) worked=$((worked + 1)) ;;
      1)
        short=$((short + 1))
        grep -qiE 'file descriptors|open files' <<<"$said" || note_failure "$command with $n descriptors says: $said"
        ;;
      127) ;; # not even its libraries could be opened
      *) note_failure "$command with $n descriptors: exit code $code: $said" ;;
    esac
  done
done
if [ $worked -lt 6 ] || [ $short -lt 3 ]; then
  note_failure "descriptors: it worked $worked times and failed $short times"
fi
flows
# nothing stays of those who failed
alone() { [ "$(bus-stat clients --json | grep -o '"id":' | wc -l)" = 3 ]; }
wait_for "those that failed to be gone" alone

# ---- a topic that is there with another geometry; each difference is named, and the topic stays as it is
bus-topic create shape --slots=64 --bytes=64K --max-bytes=1M --numa=0 || exit 1
before=$(bus-topic info shape --json)
same_shape=(--slots=64 --bytes=64K --max-bytes=1M --numa=0)
expect 0 '' bus-topic create shape "${same_shape[@]}"
expect 1 '"shape".*exists with slots 64, not 128' bus-topic create shape "${same_shape[@]}" --slots=128
expect 1 '"shape".*exists with bytes 65536, not 131072' bus-topic create shape "${same_shape[@]}" --bytes=128K
expect 1 '"shape".*exists with max_bytes 1048576, not 2097152' bus-topic create shape "${same_shape[@]}" --max-bytes=2M
expect 1 '"shape".*exists with numa node 0, not interleave' bus-topic create shape "${same_shape[@]}" --numa=interleave
expect 1 '"shape".*exists with .*huge' bus-topic create shape "${same_shape[@]}" --huge=or-not
same "the topic" "$before" "$(bus-topic info shape --json)"
end_flow
kill "$busd"
wait "$busd"

# ---- busd's descriptors
busd() { ulimit -n 40 && exec "$BUS_BUILD/busd" "$@"; }
start_busd
unset -f busd
start_flow
holders 60 many
wait_for "clients to be refused" refused 40
grep -hv 'busd has no descriptor left.*LimitNOFILE' hold.*.said && note_failure "what those said who were refused"
expect 4 'busd has no descriptor left.*LimitNOFILE' bus-pub one.more x
flows
let_go
room() { bus-pub again x; }
wait_for "room for a client" room
end_flow
grep -q 'refused' busd.log || note_failure "busd's log says nothing of those it refused: $(tail -n 3 busd.log)"
finish
