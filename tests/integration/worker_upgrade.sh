#!/bin/bash
# Proves: busd --upgrade, and SIGHUP where another program lies at busd's path, replace the worker under load by that
# program: nothing is lost, nobody complains, the configuration is read again; a program that does not serve is not
# stayed with.
# timeout: 120
. tests/integration/lib_flow.sh
. tests/integration/lib_worker.sh
. tests/integration/lib_tools.sh

mkdir bin
cp "$BUS_BUILD/busd" bin/busd
cp "$BUS_BUILD"/libbus.so* bin/ 2>/dev/null
PATH=$TMPDIR/bin:$PATH
echo 'log_level: info' >conf.yaml
start_busd --config conf.yaml
start_flow
program() { readlink "/proc/$(worker)/exe"; }

old=$(worker)
expect 0 "pid $busd replaces its worker" busd --upgrade --socket "$BUS_SOCKET"
wait_for "another worker" another_than "$old"
flows

# another program, as a package puts it there
old=$(worker)
cp bin/busd bin/new
echo >>bin/new
mv bin/new bin/busd
echo 'log_level: debug' >conf.yaml
kill -HUP "$busd"
wait_for "another worker" another_than "$old"
same "its program" "$TMPDIR/bin/busd" "$(program)"
wait_for "the configuration" grep -q 'configuration read again' busd.log
flows

# one that cannot serve
old=$(worker)
printf '#!/bin/sh\nexit 1\n' >bin/new
chmod +x bin/new
mv bin/new bin/busd
kill -HUP "$busd"
wait_for "the former program" grep -q 'does not serve; the program that served last goes on' busd.log
wait_for "another worker" another_than "$old"
flows
expect 0 '' bus-topic create afterwards
grep -q 'debug: ' busd.log || note_failure "the configuration was forgotten"

# the configuration broken meanwhile: the one in force goes on
echo 'log_level: [' >conf.yaml
kill_worker
flows
expect 0 '' bus-topic create further
expect 3 "no busd runs at" "$BUS_BUILD/busd" --upgrade --socket "$TMPDIR/none/bus.sock"
end_flow
finish
