#!/bin/bash
# Lists the C sources that the style applies to, one a line.
cd "$(dirname "$0")/../.." || exit 1
for dir in libbus busd tools tests bench docs/examples; do
  [ -d "$dir" ] && find "$dir" -name '*.[ch]' -o -name '*.cc'
done | sort
