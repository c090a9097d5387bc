#!/bin/bash
# Proves: bus-stat namespaces shows who owns each, what it uses and what it may: memory, topics, rings, clients, as they
# come and go and as a new configuration says; root all of them, an owner (a user, or a group's member) his, others none;
# the metrics say the same. So it is with the next worker.
# timeout: 120
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

[ "$(id -u)" -eq 0 ] || { echo "needs root, to be several users"; exit 77; }
command -v setpriv >/dev/null || { echo "needs setpriv (package util-linux)"; exit 77; }
alice=41001 bob=41002 staff=41009
as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }
shared=$(mktemp -d /tmp/bus-spaces.XXXXXX) || exit 1
# shellcheck disable=SC2046  # a list of pids
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$shared"' EXIT
chmod 755 "$shared"
cp "$BUS_BUILD"/bus-* "$BUS_BUILD"/libbus.so* "$BUS_BUILD/busd" "$shared"
as $alice "$shared/bus-pub" --version >/dev/null 2>&1 || { echo "other users cannot run what is in $shared"; exit 77; }
PATH=$shared:$PATH
export BUS_SOCKET=$shared/bus.sock
printf '%s\n' 'socket_mode: 0666' 'rules:' \
  '  - topics: open.>' '    allow: {publish: ["*"], subscribe: ["*"], admin: ["*"]}' \
  'namespaces:' "  - {name: orders, owner: $bob, topics: 3, rings: 5, memory: 8M, clients: 7}" \
  "  - {name: team, owner: 'group:$staff', rings: 4}" >conf
busd --foreground --socket "$BUS_SOCKET" --config conf 2>busd.log &
busd=$!
wait_for "busd to serve" bus-topic ls

# row NAME: its line, blanks squeezed
row() { bus-stat namespaces | tr -s ' ' | grep "^$1 "; }
# value NAME KEY: from the JSON
value() { bus-stat namespaces --json | grep -oE "\{\"namespace\":\"$1\"[^}]*\}" | grep -oE "\"$2\":[^,}]*" | cut -d: -f2; }
is() { [ "$(value "$1" "$2")" = "$3" ]; }

# ---- limits of what nobody uses yet, and who owns it
same "orders" "orders $bob 0 B 8 MiB 0 3 0 5 0 7" "$(row orders)"
same "team" "team group:$staff 0 B - 0 - 0 4 0 -" "$(row team)"
expect 0 '^NAMESPACE +OWNER +MEMORY +LIMIT +TOPICS +LIMIT +RINGS +LIMIT +CLIENTS +LIMIT' bus-stat namespaces

# ---- use: two topics, two publishers of one process each, a subscriber
topic orders.eu orders.us
mkfifo hold
exec 6<>hold
bus-pub orders.eu <hold 6>&- &
pubs=($!)
bus-pub orders.us <hold 6>&- &
pubs+=($!)
bus-sub orders.eu --raw >/dev/null 6>&- &
sub=$!
bus-pub open.x y
wait_for "three clients" is orders clients 3
wait_for "two rings" is orders rings 2
same "topics" 2 "$(value orders topics)"
same "their limit" 3 "$(value orders topics_limit)"
memory=$(value orders memory_bytes)
[ "$memory" -gt 1000000 ] || note_failure "two rings and a cursor segment in $memory bytes"
same "the limit of memory" $((8 << 20)) "$(value orders memory_limit_bytes)"
same "open has no owner" null "$(value open owner)"
same "open has no limit" null "$(value open topics_limit)"
same "open is not configured" false "$(value open configured)"
expect 0 "^bus_namespace_memory_bytes\{namespace=\"orders\"\} $memory\$" bus-stat metrics
expect 0 '^bus_namespace_rings_limit\{namespace="team"\} 4$' bus-stat metrics
bus-stat metrics | grep -q 'topics_limit{namespace="team"' && note_failure "a limit that is not there is in the metrics"

# ---- rights
same "what Bob sees" '"orders"' "$(as $bob bus-stat namespaces --json | grep -oE '"namespace":"[^"]*"' | cut -d: -f2)"
same "what Alice sees" '[]' "$(as $alice bus-stat namespaces --json)"
expect 0 'no namespaces, or no right' as $alice bus-stat namespaces
same "what a member of the group sees" '"team"' "$(setpriv --reuid=$alice --regid=$alice --groups=$staff \
  bus-stat namespaces --json | grep -oE '"namespace":"[^"]*"' | cut -d: -f2)"
as $alice bus-stat metrics | grep -q 'namespace="orders"' && note_failure "Alice's metrics tell of orders"

# ---- the next worker knows it too
before=$(value orders memory_bytes)
kill_worker
wait_for "the clients to be back" is orders clients 3
same "memory, after the worker was killed" "$before" "$(value orders memory_bytes)"

# ---- what goes is given back; a new configuration counts at once
exec 6>&-
wait "${pubs[@]}"
kill $sub
wait $sub
wait_for "nobody there" is orders clients 0
same "topics stay" 2 "$(value orders topics)"
sed -i 's/topics: 3/topics: 33/' conf
kill -HUP "$busd"
wait_for "the new limit" is orders topics_limit 33
expect 2 'does not take' bus-stat namespaces -n 3
kill "$busd"
wait "$busd"
busd=
expect 3 'cannot connect' bus-stat namespaces
finish
