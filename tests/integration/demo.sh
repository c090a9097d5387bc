#!/bin/bash
# Proves: scripts/demo.sh moves a file through the bus and notices when what arrives is not the file; stops all
# that it started and leaves nothing behind, also when it is interrupted.
. tests/integration/lib_tools.sh
demo=$OLDPWD/scripts/demo.sh
[ -x "$demo" ] || { echo "no $demo"; exit 1; }
export BUS_BUILD

# left_over: whether a process of a demo of ours still runs, or a directory of it is there
left_over() { ls -d "$TMPDIR"/bus-demo.* 2>/dev/null || pgrep -f -- "--socket=?.?$TMPDIR/bus-demo"; }

head -c 20000000 /dev/urandom >input
FILE=input "$demo" >out 2>&1 || note_failure "the demo failed: $(cat out)"
same "its last line" 'OK: what both subscribers got is, byte for byte, the file' "$(tail -n 1 out)"
same "checksums" 3 "$(grep -c "$(sha256sum <input | cut -d ' ' -f 1)  same" out)"
grep -qE '^  demo.file: publisher.* blocked .* by (slow|fast)' out || note_failure "bus-stat does not show who is slow: $(cat out)"
left_over && note_failure "something was left behind"

# A subscriber that changes a byte
mkdir broken
ln -s "$BUS_BUILD"/* broken/
rm broken/bus-sub
printf '#!/bin/bash\n"%s/bus-sub" "$@" | { head -c 1000; head -c 1 >/dev/null; printf x; cat; }\n' "$BUS_BUILD" >broken/bus-sub
chmod +x broken/bus-sub
head -c 100000 /dev/zero >zeros
expect 1 'NOT THE SAME' env BUS_BUILD="$TMPDIR/broken" FILE=zeros "$demo"
expect 1 '^FAIL: what arrived is not what was sent' env BUS_BUILD="$TMPDIR/broken" FILE=zeros "$demo"

expect 1 '^FAIL: .*not a file' env FILE=nonexistent "$demo"
expect 1 '^FAIL: .*is empty' sh -c ": >empty; FILE=empty '$demo'"

# Interrupted
FILE=input "$demo" >out 2>&1 &
pid=$!
wait_for "the demo to run" grep -q 'two subscribers' out
sleep 0.5
kill $pid
wait $pid
same "exit code when it is stopped" 130 $?
left_over && note_failure "something was left behind after a signal"
finish
