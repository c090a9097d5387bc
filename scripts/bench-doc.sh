#!/bin/bash
# Puts the table of the last `make bench` between the markers of docs/benchmarks.md.
#
#   scripts/bench-doc.sh RESULTS.md DOCUMENT.md
set -eu
results=$1 document=$2
[ -s "$results" ] || { echo "bench-doc: no $results: run make bench first" >&2; exit 1; }
for marker in 'begin: make bench-doc' 'end: make bench-doc'; do
  grep -q "<!-- $marker -->" "$document" || { echo "bench-doc: $document has no line '<!-- $marker -->'" >&2; exit 1; }
done
new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk -v results="$results" '
  /<!-- begin: make bench-doc -->/ { print; print ""; while ((getline line < results) > 0) print line; print ""; skip = 1 }
  /<!-- end: make bench-doc -->/ { skip = 0 }
  !skip { print }
' "$document" >"$new"
cat "$new" >"$document"
