#!/bin/bash
# The table of metrics in bus-stat.1, from libbus/format/metric_table.h. Without an argument it is
# compared (exit 1 and the difference where the page is behind), with --write it is put there.
set -eu
cd "$(dirname "$0")/.."
page=docs/man/bus-stat.1

table() {
  printf '%s\n' '#include "format/metric_table.h"' \
    '#define ROW(id, family, type, unit, key, labels, help) ROW family|type|labels|key|help' \
    'METRIC_TABLE(ROW)' |
    ${CC:-gcc} -E -P -I libbus - | tr -d '\n' | sed 's/ROW /\n/g' | sed -n 's/^"//; s/"|"/|/g; s/" *$//; /|/p' |
    awk -F'|' '
      BEGIN { print ".Bl -tag -width Ds" }
      {
        name = "bus_" $1 ($2 == "counter" ? "_total" : $2 == "info" ? "_info" : $2 == "histogram" ? "_bucket" : "")
        gsub(/,/, ", ", $3)
        print ".It Li " name ($3 == "" ? "" : " Brq Li " $3)
        print $5 "."
        if ($4 != "") print "In JSON\n.Ql " $4 "."
      }
      END { print ".El" }' | sed 's/^\(\.Ql [a-z_]*\)\.$/\1 ./'
}

page() {
  sed '/^\.\\" metric table: begin$/q' "$page"
  table
  sed -n '/^\.\\" metric table: end$/,$p' "$page"
}

if [ "${1:-}" = --write ]; then
  new=$(page)
  printf '%s\n' "$new" >"$page"
else
  page | diff -u "$page" - || { echo "$page is behind: scripts/metrics-man.sh --write" >&2; exit 1; }
fi
