#!/bin/bash
# Proves: who may do what, with three users of the machine: without rules others get nothing, not even topic names; a
# rule gives what it says and no more, of a stream's past on disk too, by bus-sub and bus-replay; what is published carries
# the user whom the kernel attests.
# timeout: 60
. tests/integration/lib_tools.sh

[ "$(id -u)" -eq 0 ] || { echo "needs root, to be several users"; exit 77; }
command -v setpriv >/dev/null || { echo "needs setpriv (package util-linux)"; exit 77; }
# Users need not exist to have a number.
alice=41001 bob=41002
as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }
# What other users run must be where they can reach it.
shared=$(mktemp -d /tmp/bus-users.XXXXXX) || exit 1
trap 'rm -rf "$shared"' EXIT
chmod 755 "$shared"
cp "$BUS_BUILD"/bus-* "$BUS_BUILD"/libbus.so* "$BUS_BUILD/busd" "$shared"
as $alice "$shared/bus-pub" --version >/dev/null 2>&1 || { echo "other users cannot run what is in $shared"; exit 77; }
PATH=$shared:$PATH
export BUS_SOCKET=$shared/bus.sock

run_busd() { # run_busd CONFIGURATION
  printf '%s\n' "$1" >conf
  busd --foreground --socket "$BUS_SOCKET" --config conf 2>busd.log &
  busd=$!
  wait_for "busd to listen" test -S "$BUS_SOCKET"
}
stop_busd() {
  kill "$busd"
  wait "$busd"
}

# the mode of the socket, 0600 unless said otherwise
run_busd ''
expect 4 'cannot connect' as $alice bus-pub t x
stop_busd

# no rules
run_busd 'socket_mode: 0666'
topic secret
expect 4 'no right to publish' as $alice bus-pub t x
expect 4 'no right to subscribe' as $alice bus-sub secret
expect 4 'no right to subscribe' as $alice bus-sub '>'
expect 4 'no right to create' as $alice bus-topic create mine
expect 1 'no topic "secret"' as $alice bus-topic rm secret
same "topics that Alice sees" '[]' "$(as $alice bus-topic ls --json)"
stop_busd

# rules: Alice publishes, Bob reads, nobody else anything
run_busd "
socket_mode: 0666
rules:
  - topics: orders.>
    allow: {publish: [$alice], subscribe: [$bob]}
  - topics: scratch.*
    allow: {admin: ['*']}"
topic secret orders.secret
expect 4 'no right to subscribe' as $alice bus-sub orders.eu
expect 4 'no right to publish' as $bob bus-pub orders.eu x
expect 4 'no right to publish' as $alice bus-pub secret x
expect 4 'no right to create' as $alice bus-topic create orders.us
expect 4 'no right to remove' as $alice bus-topic rm orders.secret
expect 0 '' as $alice bus-topic create scratch.a
expect 0 '' as $bob bus-topic rm scratch.a
same "topics that Bob sees" orders.secret "$(as $bob bus-topic ls --json | grep -oE '"topic":"[^"]*"' | cut -d '"' -f 4)"
# a pattern gives what may be read of it, also of what appears later
as $bob bus-sub '>' --count=1 --json >bob.out 2>bob.err &
reader=$!
wait_for "Bob" attached orders.secret 1
bus-pub secret 'not for Bob' || note_failure "root may not publish"
as $alice bus-pub --name=root orders.new hello || note_failure "Alice may not publish"
wait $reader
grep -q '"topic":"orders.new".*"payload":"hello"' bob.out || note_failure "Bob got: $(cat bob.out bob.err)"
grep -qE "\"publisher\":\{[^}]*\"uid\":$alice" bob.out || note_failure "not published by Alice: $(cat bob.out)"

# a stream's past, by its name: who may subscribe reads it although the files are busd's; who may not is told no
# more than that there is none for him; who may not publish replays into nothing
bus-topic create orders.day --stream --stream-slots=1024 && bus-topic create orders.copy --stream || exit 1
seq 1 3000 >lines
as $alice bus-pub orders.day --wait=durable <lines || note_failure "Alice may not publish into the stream"
same "Bob's replay" "$(sha256sum <lines)" "$(as $bob bus-replay orders.day | sha256sum)"
same "what Bob reads from disk" "$(tail -n +51 lines | sha256sum)" \
  "$(as $bob bus-sub orders.day --raw --from=seq:50 --until-end | sha256sum)"
same "from the oldest" "$(sha256sum <lines)" "$(as $bob bus-sub orders.day --raw --from=oldest --until-end | sha256sum)"
expect 4 'no right to subscribe' as $alice bus-sub orders.day --raw --from=oldest --until-end
expect 4 'no right to subscribe' as $alice bus-sub orders.day --raw --from=seq:50 --until-end
bus-topic create private.day --stream && bus-pub private.day --wait=durable 'not for Bob' || exit 1
same "what Bob gets by a pattern" "$(sha256sum <lines)" "$(as $bob bus-sub '*.day' --raw --from=oldest --until-end | sha256sum)"
expect 1 'there is no stream "private.day" that this user' as $bob bus-replay private.day
expect 1 'there is no stream "orders.day" that this user' as $alice bus-replay orders.day
same "what Alice is told of a stream that is not there" "$(as $alice bus-replay orders.day 2>&1 | sed 's/day/none/g')" \
  "$(as $alice bus-replay orders.none 2>&1)"
expect 4 'no right to publish' as $bob bus-replay orders.day --from=seq:0 --into=orders.copy
same "nothing came of it" 0 "$(bus-replay orders.copy | wc -l)"

# a durable subscription is its user's; who administers the topic may have it, too
stop_busd
run_busd "
socket_mode: 0666
data_dir: $TMPDIR/users.data
rules:
  - topics: orders.>
    allow: {subscribe: [$alice, $bob]}"
bus-topic create orders.all --stream || exit 1
bus-pub orders.all --count=10 x --wait=durable
expect 0 x as $alice bus-sub orders.all --durable=mine --from=oldest --count=3
expect 4 "belongs to another user \(uid $alice; this is uid $bob\)" as $bob bus-sub orders.all --durable=mine
expect 4 'belongs to another user' as $bob bus-topic position orders.all mine --to=oldest --execute
expect 4 'belongs to another user' as $bob bus-topic position orders.all mine --delete --execute
expect 4 'no right to subscribe' as 41003 bus-topic positions orders.all
expect 4 'no right to subscribe' as 41003 bus-topic positions orders.none
expect 0 'passed over' bus-topic position orders.all mine --skip=2 --execute
expect 0 '"seq": ?5,' as $bob bus-topic positions orders.all --json
expect 0 'repeated' as $alice bus-topic position orders.all mine --to=seq:1 --execute
expect 0 x bus-sub orders.all --durable=mine --count=1
expect 0 '"user": ?"'$alice'"' bus-topic positions orders.all --json
# a quarter of a stream's names is a user's, who does not administer it
for ((i = 1; i < 64; i++)); do
  as $alice bus-topic position orders.all "a$i" --to=oldest --execute >/dev/null || note_failure "name $i of Alice"
done
expect 4 "your user \(uid $alice\) has 64 durable subscriptions" as $alice bus-topic position orders.all more --to=oldest --execute
expect 4 'the most that one may' as $alice bus-sub orders.all --durable=more
expect 0 x as $alice bus-sub orders.all --durable=a63 --count=1
expect 0 x as $bob bus-sub orders.all --durable=bobs --from=oldest --count=1
for ((i = 0; i < 65; i++)); do
  bus-topic position orders.all "r$i" --to=oldest --execute >/dev/null || note_failure "name $i of root"
done
expect 0 'is deleted' as $alice bus-topic position orders.all a63 --delete --execute
expect 0 'new, at' as $alice bus-topic position orders.all more --to=oldest --execute

finish
