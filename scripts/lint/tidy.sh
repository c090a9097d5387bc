#!/bin/bash
# make tidy: clang-tidy with the checks of .clang-tidy over library, busd and tools.
set -u
cd "$(dirname "$0")/../.." || exit 1
tidy() {
  local flags=(-std=gnu11 -D_GNU_SOURCE -I libbus/include)
  case $1 in
    libbus/*) flags+=(-I libbus) ;;
    busd/*) flags+=(-I libbus -I busd) ;;
    *) flags+=(-I tools) ;;
  esac
  clang-tidy --quiet "$1" -- "${flags[@]}" 2> >(grep -v 'warnings generated' >&2)
}
export -f tidy
find libbus busd tools -name '*.c' -print0 2>/dev/null | xargs -0 -r -n 1 -P "$(nproc)" bash -c 'tidy "$0"'
