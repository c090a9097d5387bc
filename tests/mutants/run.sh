#!/bin/bash
# Shows that tests can fail: breaks one line at a time in a copy of libbus and expects a test to object.
#
#   tests/mutants/run.sh [NAME...]     all mutants of ring.txt and fuzz.txt, or those whose name contains a NAME
#
# A mutant that its test lets pass, or that no longer fits the source, is an error.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
CC=${CC:-gcc}
# The thread sanitizer wants its addresses where they always are.
plain=()
setarch -R true 2>/dev/null && plain=(setarch -R)
fuzz=()
if echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
  clang -fsanitize=fuzzer -x c - -o "$work/probe" 2>/dev/null; then
  fuzz=(tests/mutants/fuzz.txt)
else
  echo "mutants: clang cannot fuzz here: fuzz.txt is left out" >&2
fi
export TSAN_OPTIONS='halt_on_error=1 exitcode=66'
CFLAGS=(-std=gnu11 -D_GNU_SOURCE -w)

# mutate FILE: replaces $from by $to in its copy; it must occur exactly once, white space apart
mutate() {
  rm -rf "$work/libbus"
  mkdir "$work/libbus"
  cp -r libbus/base libbus/format libbus/ring libbus/os "$work/libbus/"
  FROM=$from TO=$to perl -0777 -pi -e '
    BEGIN { $from = join q(\s+), map { quotemeta } split " ", $ENV{FROM} }
    my $n = () = /$from/g;
    if ($n != 1) { print STDERR "mutants: $n places, not 1, hold: $ENV{FROM}\n"; $bad = 1 }
    s/$from/$ENV{TO}/;
    END { $? = 1 if $bad }' "$work/libbus/$1"
}

# compile FROM TO FLAGS...: as the unit tests are, below the copy $tree
compile() {
  "$CC" "${CFLAGS[@]}" -O0 -I "$tree" -I tests -c "$1" -o "$2" >"$work/log" 2>&1
}

# unit_objects DIR TEST: whatever is not there yet
unit_objects() {
  local from to
  mkdir -p "$1"
  for from in "tests/$2.c" tests/lib/ring_rig.c "$tree"/ring/*.c; do
    to=$1/$(basename "$from" .c).o
    [ -e "$to" ] || compile "$from" "$to" || return 1
  done
}

# build TREE TEST [FILE]: $work/test. FILE is all that differs from the unbroken tree.
build() {
  local tree=$1 objs=$work/objs more
  case $2 in
    unit/*)
      # What does not depend on a broken .c file was compiled for the first mutant.
      rm -rf "$objs"
      if [[ ${3:-} == *.c ]]; then
        cp -r "$work/unbroken" "$objs"
        rm -f "$objs/$(basename "$3" .c).o"
      fi
      unit_objects "$objs" "$2" || return 1
      "$CC" "$objs/${2#unit/}.o" "$objs"/{ring_rig,ring,gate,cursor}.o -lcmocka -o "$work/test" >"$work/log" 2>&1
      return
      ;;
    tsan/*) more=(-O1 -g -fsanitize=thread "$1/os/wake.c" -lpthread) ;;
    fuzz/*)
      clang "${CFLAGS[@]}" -O1 -g -DBUS_EXPLORE -fsanitize=fuzzer,address -I "$1" -I tests "tests/$2.c" \
        tests/lib/ring_rig.c "$1"/ring/*.c -o "$work/test" >"$work/log" 2>&1
      return
      ;;
    *) more=(-O2) ;; # a race of two processes: without this it is too slow a race
  esac
  "$CC" "${CFLAGS[@]}" -I "$1" -I tests "tests/$2.c" tests/lib/ring_rig.c "$1"/ring/*.c "${more[@]}" \
    -o "$work/test" >"$work/log" 2>&1
}

# try NAME TEST FILE: prints what is wrong, if anything
try() {
  local limit args=()
  mutate "$3" || { echo "$1: does not fit $3"; return; }
  build "$work/libbus" "$2" "$3" || { echo "$1: does not compile"; cat "$work/log"; return; }
  # A failed test, a crash or a hang: each is an objection. A skipped test (77) is none.
  case $2 in
    unit/*) limit=10 ;;
    fuzz/*) limit=100 args=(-error_exitcode=1 -max_total_time=30 -max_len=1024 -use_value_profile=1 -artifact_prefix="$work/") ;;
    *) limit=100 ;;
  esac
  timeout $limit "${plain[@]}" "$work/test" "${args[@]}" >"$work/log" 2>&1
  case $? in
    0) echo "$1: $2 passes all the same" ;;
    77) echo "$1: $2 was skipped: $(tail -n 1 "$work/log")" ;;
  esac
}

wanted() {
  local name
  [ $# -eq 1 ] && return 0
  for name in "${@:2}"; do
    [[ $1 == *"$name"* ]] && return 0
  done
  return 1
}

caught=0 failed=0 name='' from='' to='' side=''
finish() {
  local finding
  [ -n "$name" ] && wanted "$name" "$@" || return
  finding=$(try "$name" "$test" "$file")
  if [ -n "$finding" ]; then
    echo "$finding"
    failed=$((failed + 1))
  else
    caught=$((caught + 1))
  fi
}

tree=libbus
for t in layout publish gate consume cursor; do
  unit_objects "$work/unbroken" "unit/ring_$t" && build libbus "unit/ring_$t" unbroken.c &&
    "$work/test" >"$work/log" 2>&1 && continue
  cat "$work/log"
  echo "mutants: unit/ring_$t fails without any mutant" >&2
  exit 1
done
while IFS= read -r line; do
  case $line in
    mutant\ *)
      finish "$@"
      read -r _ name test file <<<"$line"
      from='' to='' side=''
      ;;
    -*) side=from from=${line#-} ;;
    +*) side=to to=${line#+} ;;
    '#'* | '') ;;
    *) if [ "$side" = from ]; then from+=$'\n'$line; else to+=$'\n'$line; fi ;;
  esac
done < <(cat tests/mutants/ring.txt "${fuzz[@]}"; echo 'mutant END')
echo "mutants: $caught caught, $failed not"
[ $failed -eq 0 ] && [ $caught -gt 0 ]
