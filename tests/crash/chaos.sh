#!/bin/bash
# Proves: publishers, subscribers, busd and its worker are killed, stopped and continued at random
# moments, and by the notes that publishers keep outside the bus everybody got what was committed,
# once, whole and in order, minus what was counted as lost. The short form of `make chaos`.
# timeout: 180
set -u
chaos=$BUS_BUILD/tests/chaos/chaos
failed=0
for seed in 1 2 3; do
  "$chaos" --seed $seed --seconds 2.5 || failed=1
done
exit $failed
