#!/bin/bash
# The table of metrics in bus-stat(1) is that of metric_table.h.
exec scripts/metrics-man.sh
