#!/bin/bash
# Proves: the position of a durable subscription is never below what was said to be on disk, and never above what was
# acknowledged, wherever its writer, busd or the power fails and whatever of the unsynced writes is on disk then. The
# short form of a part of `make crashdisk`.
exec "${BUS_BUILD:-build}/tests/disk/positions" --short
