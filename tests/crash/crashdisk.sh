#!/bin/bash
# Proves: a stream's log keeps all that was durable, and invents nothing, wherever its writer, busd or the power fails and
# whatever of the unsynced writes is on disk then. The short form of `make crashdisk`.
exec "${BUS_BUILD:-build}/tests/disk/crash" --short
