#!/bin/bash
# Checks every model beside this file as it is, then with each mutant that its header names.
#
#   run.sh [WORD...]      lines whose "MODEL MUTANT" contains one of the words
#
# One line each: holds, caught, or what is wrong. Exit code 0: all as they should be; 1: not; 77: spin
# is missing. TRAIL=1 prints the steps of whatever was found.
set -u

here=$(cd "$(dirname "$0")" && pwd)
if ! command -v spin >/dev/null; then
  echo "spin: skipped: spin is missing (Debian package spin)" >&2
  exit 77
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# check MODEL MUTANT: an empty mutant is the model as it is.
check() {
  local model=$1 mutant=$2 defs=() optimize=-O2 errors states seconds verdict
  # What is to be caught is caught soon: compiling takes longer than the search.
  [ -n "$mutant" ] && defs=("-DMUTANT_$mutant") optimize=-O0
  rm -rf "${work:?}"/*
  cp "$here/$model.pml" "$work/"
  if ! (cd "$work" && spin -a "${defs[@]}" "$model.pml" >spin.out 2>&1 &&
    ${CC:-gcc} "$optimize" -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=2000 -o pan pan.c >>spin.out 2>&1); then
    cat "$work/spin.out"
    printf '%-9s %-18s DOES NOT BUILD\n' "$model" "${mutant:--}"
    return 1
  fi
  # -E: processes that wait for ever are no error by themselves; what must have come by then each model
  # asserts at its `timeout`.
  (cd "$work" && timeout -k 5 400 ./pan -E -m1000000 >pan.out 2>&1)
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$work/pan.out")
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/pan.out")
  seconds=$(sed -n 's/^pan: elapsed time \([0-9.]*\).*/\1/p' "$work/pan.out")
  # A search that did not reach its end has shown nothing.
  if [ -z "$errors" ] || grep -q 'search depth too small\|out of memory\|hash table full' "$work/pan.out"; then
    verdict="NOT COMPLETE"
  elif [ -z "$mutant" ]; then
    verdict=holds
    [ "$errors" = 0 ] || verdict="FAILS: $(grep -m1 '^pan:1:' "$work/pan.out" | cut -c8-70)"
  else
    verdict=caught
    [ "$errors" = 0 ] && verdict="NOT CAUGHT"
  fi
  printf '%-9s %-18s %9s states %6s s  %s\n' "$model" "${mutant:--}" "${states:-?}" \
    "${seconds:-?}" "$verdict"
  if [ -n "${TRAIL:-}" ] && [ -f "$work/$model.pml.trail" ]; then
    (cd "$work" && spin -t -p -g -l "${defs[@]}" "$model.pml")
  fi
  [ "$verdict" = holds ] || [ "$verdict" = caught ]
}

wanted() {
  local line=$1 word
  shift
  [ $# -eq 0 ] && return 0
  for word in "$@"; do [[ $line == *$word* ]] && return 0; done
  return 1
}

bad=0
count=0
for file in "$here"/*.pml; do
  model=$(basename "$file" .pml)
  mutants=$(sed -n 's/^ \* Mutants: //p' "$file")
  # The header and the code name the same mutants.
  if [ "$(tr ' ' '\n' <<<"$mutants" | sort)" != \
    "$(grep -o 'MUTANT_[a-z0-9_]*' "$file" | sed 's/MUTANT_//' | sort -u)" ]; then
    echo "$model: the header names other mutants than the model has" >&2
    bad=1
  fi
  for mutant in "" $mutants; do
    wanted "$model $mutant" "$@" || continue
    count=$((count + 1))
    check "$model" "$mutant" || bad=1
  done
done
if [ "$count" = 0 ]; then
  echo "spin: nothing matches: $*" >&2
  exit 1
fi
[ "$bad" = 0 ] && echo "spin: $count searches, all as they should be"
exit "$bad"
