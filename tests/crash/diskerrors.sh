#!/bin/bash
# Proves: whatever operation of the disk fails, what was said to be durable is on it, the rest goes to a fresh segment, and
# a log whose disk was full goes on by itself. The short form of `make diskerrors` (argument: full).
# timeout: 250
set -eu
errors=${BUS_BUILD:-build}/tests/disk/errors
if [ "${1:-}" = full ]; then "$errors"; else "$errors" --short; fi

small=$(mktemp -d)
if ! mount -t tmpfs -o size=2m none "$small" 2>/dev/null; then
  rmdir "$small"
  echo "a full file system: needs root to mount a small tmpfs"
  exit 77
fi
trap 'umount "$small"; rmdir "$small"' EXIT
"$errors" --full "$small" --threads
rm -f "$small"/*
# Where it is refused, so is the test.
if [ "$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null || echo 0)" = 0 ]; then
  "$errors" --full "$small"
fi
