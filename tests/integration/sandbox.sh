#!/bin/bash
# Proves: busd started by root with `user:` runs as that user, with no capability and no way back, under seccomp,
# and does all it is there for: topics, rights, growth, files, SIGHUP, the way out. Nothing that it does is refused by
# the filter (counted by strace over all of that). `sandbox: false` does without; who is not root cannot become
# somebody else.
# timeout: 120
. tests/integration/lib_tools.sh

[ "$(id -u)" -eq 0 ] || { echo "needs root, to become somebody else"; exit 77; }
[ -n "$BUS_SAN" ] && { echo "not under a sanitizer, which makes calls of its own"; exit 77; }
command -v setpriv >/dev/null || { echo "needs setpriv (package util-linux)"; exit 77; }
user=daemon
uid=$(id -u $user) || { echo "needs the user $user"; exit 77; }
alice=41001
shared=$(mktemp -d /tmp/bus-sandbox.XXXXXX) || exit 1
# shellcheck disable=SC2317  # called by trap
clean_up() {
  [ -z "${busd:-}" ] || kill "$busd" 2>/dev/null
  rm -rf "$shared"
}
trap clean_up EXIT
chmod 755 "$shared"
cp "$BUS_BUILD"/bus-* "$BUS_BUILD"/libbus.so* "$BUS_BUILD/busd" "$shared"
as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }
as $alice "$shared/bus-pub" --version >/dev/null 2>&1 || { echo "other users cannot run what is in $shared"; exit 77; }
PATH=$shared:$PATH
export BUS_SOCKET=$shared/run/bus.sock STATE_DIRECTORY=$shared/state
conf=$shared/busd.yaml

# the processes of this busd: keeper and worker
busds() { pgrep -f -- "^[^ ]*busd .*--socket[ =]$BUS_SOCKET" | sort -n; }
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# shellcheck disable=SC2317  # called by wait_for
serves() { bus-topic ls; }
run_busd() { # run_busd CONFIGURATION [TRACER...]
  printf '%s\n' "$1" >"$conf"
  "${@:2}" busd --foreground --socket "$BUS_SOCKET" --config "$conf" 2>busd.log &
  busd=$!
  wait_for "busd to serve" serves
}
stop_busd() {
  kill "$busd"
  wait "$busd" || note_failure "busd ended with $?: $(tail -n 3 busd.log)"
  busd=
}
settings="
socket_mode: 0666
rules:
  - topics: open.>
    allow: {publish: [$alice], subscribe: [$alice], admin: [$alice]}"

# ---- another user, and the filter
run_busd "user: $user$settings"
filtered=0
for pid in $(busds); do
  same "uids of busd $pid" "$uid $uid $uid $uid" "$(status_of "$pid" Uid | tr '\t' ' ')"
  same "gids of busd $pid" "$(id -g $user)" "$(status_of "$pid" Gid | tr '\t' '\n' | sort -u)"
  for set in CapInh CapPrm CapEff CapAmb; do
    same "$set of busd $pid" 0000000000000000 "$(status_of "$pid" $set)"
  done
  same "no new privileges of busd $pid" 1 "$(status_of "$pid" NoNewPrivs)"
  [ "$(status_of "$pid" Seccomp)" = 2 ] && filtered=$((filtered + 1))
done
[ $filtered -ge 1 ] || note_failure "no process of busd is under seccomp"
# whom it runs as is who may do everything; others what the rule says
expect 0 '' as "$uid" bus-pub any.topic x
expect 0 '' as $alice bus-topic create open.a
expect 4 'no right to publish' as $alice bus-pub closed x
expect 4 'no right to create' as $alice bus-topic create closed
stop_busd
[ -e "$BUS_SOCKET" ] && note_failure "the socket is left behind"

# ---- all that it does, under strace: no call is refused
run_busd "user: $user$settings" strace -f -qq -o "$TMPDIR/calls" -e 'trace=!none'
topic t
seq 2000 | bus-pub t --stdin=lines || note_failure "publishing"
same "what was kept" 2000 "$(bus-sub t --from=last --until-end)"
bus-pub t --size=3M || note_failure "growth"
expect 0 '' as $alice bus-pub open.b x
bus-stat >/dev/null && bus-stat clients >/dev/null || note_failure "bus-stat"
bus-topic create far --numa=interleave --bytes=16M && bus-pub far x || note_failure "placement"
bus-topic create huge --bytes=2M --huge=or-not && bus-pub huge x || note_failure "huge pages"
bus-topic rm t || note_failure "removal"
echo "# again" >>"$conf"
tracer=$busd
worker=$(busds | tail -n 1)
kill -HUP "$worker"
wait_for "the configuration to be read again" grep -q 'configuration read again' busd.log
for pid in $(busds); do [ "$pid" = "$tracer" ] || kill "$pid" 2>/dev/null; done
wait "$tracer"
busd=
grep -c . "$TMPDIR/calls" >/dev/null || note_failure "strace saw nothing"
# from the filter on
sed -n '/seccomp(SECCOMP_SET_MODE_FILTER/,$p' "$TMPDIR/calls" >filtered
[ "$(wc -l <filtered)" -gt 500 ] || note_failure "strace saw little: $(wc -l <filtered) calls after the filter"
grep -E '= -1 (EPERM|ENOSYS)|SIGSYS' filtered | grep -vE 'clone3(\(| resumed)|F_ADD_SEALS' >refused &&
  note_failure "refused by the filter: $(head -n 5 refused)"

# ---- without
run_busd "sandbox: false$settings"
for pid in $(busds); do same "Seccomp of busd $pid" 0 "$(status_of "$pid" Seccomp)"; done
grep -q 'sandbox: false' busd.log || note_failure "nothing is said of sandbox: false"
stop_busd

# ---- not root
printf 'user: %s\n' "$user" >"$conf"
mkdir -m 777 "$shared/alice"
expect 1 'cannot become user daemon: busd was not started by root' \
  as $alice busd --foreground --socket "$shared/alice/bus.sock" --config "$conf"
printf 'user: no-such-user\n' >"$conf"
expect 2 ':1: there is no user "no-such-user"' busd --config "$conf" --check-config
finish
