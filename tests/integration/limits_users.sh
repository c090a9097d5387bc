#!/bin/bash
# Proves: what one user or one namespace may take ends at its limit with exit code 4 and a sentence that names the
# limit and the key to raise it; others are not concerned; what is given back is there again; owners have all rights on
# their namespace and no others. On SIGHUP limits and rights change: who loses a right is taken off, who gets one back is
# let in, and nobody else notices.
# timeout: 120
. tests/integration/lib_tools.sh

[ "$(id -u)" -eq 0 ] || { echo "needs root, to be several users"; exit 77; }
command -v setpriv >/dev/null || { echo "needs setpriv (package util-linux)"; exit 77; }
alice=41001 bob=41002
as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }
become() { exec setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; } # with &: $! is the program itself
shared=$(mktemp -d /tmp/bus-limits.XXXXXX) || exit 1
trap 'rm -rf "$shared"' EXIT
chmod 755 "$shared"
cp "$BUS_BUILD"/bus-* "$BUS_BUILD"/libbus.so* "$BUS_BUILD/busd" "$shared"
as $alice "$shared/bus-pub" --version >/dev/null 2>&1 || { echo "other users cannot run what is in $shared"; exit 77; }
PATH=$shared:$PATH
export BUS_SOCKET=$shared/bus.sock
base="socket_mode: 0666
user_connections: 4
user_topics: 5
rules:
  - topics: open.>
    allow: {publish: ['*'], subscribe: ['*'], admin: ['*']}
namespaces:"
spaces="
  - {name: orders, owner: $bob, topics: 3, rings: 2, memory: 2M}
  - {name: quiet, owner: $bob, clients: 2}"
configure() { printf '%s%s\n' "$base" "$1" >conf; }
configure "$spaces"
busd --foreground --socket "$BUS_SOCKET" --config conf 2>busd.log &
busd=$!
wait_for "busd to listen" test -S "$BUS_SOCKET"
reads=0
reload() {
  reads=$((reads + 1))
  kill -HUP "$busd"
  wait_for "the configuration" enough_reads
}
# shellcheck disable=SC2317  # called by wait_for
enough_reads() { [ "$(grep -c 'configuration read again' busd.log)" -ge $reads ]; }

# hold USER TOPIC: a publisher that stays until let_go
mkfifo hold
exec 6<>hold
held=()
hold() {
  local before after
  before=$(publishers "$2")
  (exec 6>&- && become "$1" bus-pub "$2" <hold >>hold.said 2>&1) &
  held+=($!)
  for _ in {1..500}; do
    after=$(publishers "$2")
    [ "$after" -gt "$before" ] && return
    sleep 0.02
  done
  note_failure "a publisher of uid $1 on $2: $(cat hold.said)"
}
publishers() { bus-topic info "$1" --json 2>/dev/null | grep -oE '"publishers":[0-9]+' | grep -oE '[0-9]+' || echo 0; }
let_go() {
  exec 6>&-
  wait "${held[@]}"
  held=()
  rm hold
  mkfifo hold
  exec 6<>hold
}

# ---- owners
expect 0 '' as $bob bus-topic create orders.eu
expect 0 '' as $bob bus-topic create orders
expect 0 '' as $bob bus-pub orders.eu x
expect 4 'no right to create' as $bob bus-topic create orderss.eu
expect 4 'no right to publish' as $alice bus-pub orders.eu x
expect 1 'no topic "orders.eu"' as $alice bus-topic rm orders.eu
same "what Alice sees" '[]' "$(as $alice bus-topic ls --json)"
# of what she may not see there is no trace in the figures either
as $alice bus-stat 2>&1 | grep -qE '(^|[^0-9])0 topics' || note_failure "Alice's bus-stat: $(as $alice bus-stat 2>&1 | head -3)"

# ---- topics of a namespace, for root too; another one is not concerned
expect 0 '' as $bob bus-topic create orders.us
expect 4 'cannot create.*namespace "orders" has 3 topics, limit 3; .* raise topics of the namespace' \
  bus-topic create orders.cn
expect 4 'namespace "orders" has 3 topics, limit 3' as $bob bus-pub orders.cn x
expect 0 '' as $bob bus-pub quiet.x y
expect 0 '' as $bob bus-topic rm orders.us
expect 0 '' as $bob bus-topic create orders.cn

# ---- its rings: kept ones make room, open ones do not
for i in 1 2 3 4 5; do expect 0 '' as $bob bus-pub orders.eu "kept $i"; done
hold $bob orders.eu
hold $bob orders.eu
expect 4 'cannot publish to "orders.eu": namespace "orders" has 2 rings, limit 2; .* raise rings of the namespace' \
  as $bob bus-pub orders.eu x
expect 0 '' bus-pub elsewhere x
configure "${spaces/rings: 2/rings: 9}"
reload
expect 0 '' as $bob bus-pub orders.eu x
# ---- its memory
expect 4 'cannot publish to "orders.eu".*over the memory limit of namespace "orders": .* limit 2.0 MiB; .* raise memory of the namespace' \
  as $bob bus-pub orders.eu --size=1M
let_go
expect 4 'over the memory limit of namespace "orders"' bus-pub orders.eu --size=1M

# ---- its clients: publishers and subscribers; one process counts once
hold $bob quiet.a
become $bob bus-sub quiet.a >/dev/null 2>&1 &
held+=($!)
wait_for "a subscriber" attached quiet.a 1
expect 4 'cannot publish.*namespace "quiet" has 2 clients, limit 2; .* raise clients of the namespace' bus-pub quiet.b x
expect 4 'cannot subscribe.*namespace "quiet" has 2 clients' as $bob bus-sub quiet.a --count=1
# who looks at everything counts nowhere
bus-sub '>' --count=1 --raw >all.out 2>&1 &
all=$!
wait_for "one who reads all" attached quiet.a 2
kill "${held[1]}"
# shellcheck disable=SC2317  # called by wait_for
room() { bus-pub quiet.a seen; }
wait_for "room for a client" room
wait $all
same "what is seen of it" seen "$(cat all.out)"
let_go

# ---- connections of a user; others, and root, are not concerned
for _ in 1 2 3; do hold $alice open.a; done
become $alice bus-sub open.a >alice.out 2>&1 &
reader=$!
wait_for "Alice" attached open.a 1
expect 4 "your user \(uid $alice\) has 4 connections, limit 4; close some or raise user_connections" as $alice bus-pub open.a x
expect 4 "4 connections, limit 4" as $alice bus-stat
expect 0 '' as $bob bus-pub open.a "from Bob"
base=${base/user_connections: 4/user_connections: 9}
configure "$spaces"
reload
expect 0 '' as $alice bus-pub open.a "one more"

# ---- topics of a user
for i in 1 2 3 4; do as $alice bus-topic create open.t$i || note_failure "topic $i"; done
expect 4 "your user \(uid $alice\) has made 5 topics, limit 5; remove some or raise user_topics" as $alice bus-topic create open.t5
expect 0 '' as $bob bus-topic rm orders.cn
expect 0 '' as $bob bus-topic create open.t5

# ---- a right that goes and comes back, while Bob and root go on
bus-sub open.a >root.out 2>&1 &
root=$!
wait_for "root" attached open.a 2
good=$base
base=${base/"subscribe: ['*']"/"subscribe: [$bob]"}
base=${base/"publish: ['*']"/"publish: [$bob]"}
configure "$spaces"
reload
wait_for "Alice to be taken off" attached open.a 1
same "publishers of Alice's" 0 "$(publishers open.a)"
expect 0 '' as $bob bus-pub open.a "not for Alice"
expect 4 'no right to subscribe' as $alice bus-sub open.a --count=1
expect 4 'no right to publish' as $alice bus-pub open.a x
grep -qE "subscription \"bus-sub\" of \"bus-sub\" \(pid $reader, uid $alice\) is taken off \"open.a\": its right" busd.log ||
  note_failure "the log does not say that Alice was taken off: $(grep 'taken off' busd.log)"
grep -qE "publisher \"bus-pub\" of \"bus-pub\" \(pid [0-9]+, uid $alice\) on \"open.a\" is shut down: its right" busd.log ||
  note_failure "the log does not say that Alice was shut down: $(grep 'shut down' busd.log)"
base=$good
configure "$spaces"
reload
wait_for "Alice to be let in again" attached open.a 2
expect 0 '' as $bob bus-pub open.a "again for Alice"
wait_for "the last message" grep -q 'again for Alice' root.out
wait_for "Alice's last message" grep -q 'again for Alice' alice.out
kill $root $reader
same "what root read" "not for Alice
again for Alice" "$(grep Alice root.out)"
same "what Alice read" "from Bob
one more
again for Alice" "$(grep -v ': ' alice.out)"
# those who publish are told
exec 6>&-
wait "${held[@]}"
finish
