#!/bin/bash
# Shows that tests can fail: breaks one line at a time in a copy of the sources and expects a test to object.
#
#   tests/mutants/run.sh [NAME...]     all mutants, or those whose name contains a NAME
#
#   ring.txt     libbus/ring, by unit tests, hostile/torn and the thread sanitizer
#   fuzz.txt     libbus/ring, by the fuzzer
#   system.txt   library, busd and tools, by suites over real processes, scripts of tests/integration too
#   the explorer's own, by make model's scenarios (only where no NAME is given, or the NAME is "model")
#
# Prints a line for each: mutant, the suite that catches it, seconds. A mutant that its test lets pass, or that no
# longer fits the source, is an error.
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

# mutate FILE: replaces $from by $to in FILE; it must occur exactly once, white space apart
mutate() {
  FROM=$from TO=$to perl -0777 -pi -e '
    BEGIN { $from = join q(\s+), map { quotemeta } split " ", $ENV{FROM} }
    my $n = () = /$from/g;
    if ($n != 1) { print STDERR "mutants: $n places, not 1, hold: $ENV{FROM}\n"; $bad = 1 }
    s/$from/$ENV{TO}/;
    END { $? = 1 if $bad }' "$1"
}

# fresh_libbus: an unbroken copy
fresh_libbus() {
  rm -rf "$work/libbus"
  mkdir "$work/libbus"
  cp -r libbus/base libbus/format libbus/ring libbus/os "$work/libbus/"
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

# ---- whole trees ----

whole_make() {
  env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$work/tree" -s -j2 NO_DEPS=1 BUILD=build "$@" >"$work/log" 2>&1
}

# programs_of TEST: what make must build for it
programs_of() {
  case $1 in
    crash/*) echo "build/tests/${1#crash/}/${1#crash/}" ;;
    *)
      if [ -e "tests/$1.sh" ]; then
        echo "all build/tests/progs/log_make build/tests/progs/log_cat build/tests/disk_fault.so" \
          "$([ ! -e "tests/$1.c" ] || echo "build/tests/$1")" # a script's own instrument
      else
        echo "build/tests/$1"
      fi
      ;;
  esac
}

# run_whole TEST SEEDS: as tests/run.sh would, in the broken tree
run_whole() {
  local seed
  (
    cd "$work/tree" || exit 1
    rm -rf "$work/tmp"
    mkdir "$work/tmp"
    export BUS_BUILD=$work/tree/build TMPDIR=$work/tmp XDG_RUNTIME_DIR=$work/tmp STATE_DIRECTORY=$work/tmp/state
    unset BUS_SOCKET
    case $1 in
      crash/step) timeout -k 5 60 build/tests/step/step --short ;;
      crash/chaos) # what one seed does not meet, the next one may
        for seed in $2; do
          timeout -k 5 150 build/tests/chaos/chaos --seed $seed --seconds 4 || exit
        done
        ;;
      disk/*) timeout -k 5 120 "build/tests/$1" --short ;;
      *)
        if [ -e "tests/$1.sh" ]; then
          timeout -k 5 240 bash "tests/$1.sh"
        else
          timeout -k 5 120 "build/tests/$1"
        fi
        ;;
    esac
  ) >"$work/log" 2>&1
}

# try_whole NAME TEST FILE: prints what is wrong, if anything
try_whole() {
  local rc
  if [ ! -d "$work/tree" ]; then
    mkdir "$work/tree"
    cp -r Makefile mk libbus busd tools scripts tests "$work/tree/"
  fi
  # What fails anyhow catches nothing.
  # shellcheck disable=SC2046  # a list
  if [ ! -e "$work/sound.${2//\//.}" ]; then
    if ! { whole_make build/busd $(programs_of "$2") && run_whole "$2" '1 2'; }; then
      echo "$2 fails without any mutant: $(tail -n 3 "$work/log" | tr '\n' ' ')"
      return
    fi
    touch "$work/sound.${2//\//.}"
  fi
  cp "$work/tree/$3" "$work/original"
  mutate "$work/tree/$3" || { echo "does not fit $3"; cp "$work/original" "$work/tree/$3"; return; }
  # shellcheck disable=SC2046  # a list
  if whole_make build/busd $(programs_of "$2"); then
    run_whole "$2" '1 2 3 4 5 6 7 8'
    rc=$?
    [ $rc -eq 0 ] && echo "passes all the same"
    [ $rc -eq 77 ] && echo "skipped: $(tail -n 1 "$work/log")"
  else
    echo "does not compile"
    cat "$work/log"
  fi
  cp "$work/original" "$work/tree/$3"
}

# The explorer breaks its own lines; its table says which scenario catches which.
model_mutants() {
  local names verdict name scenario seconds
  mapfile -t names < <(make -s NO_DEPS=1 build/tests/model/explore >&2 &&
    build/tests/model/explore --list | sed -n '/^mutants/,$p' | awk 'NF > 1 && !/^mutants/ { print $1 }' | sort -u)
  while read -r verdict name scenario seconds; do
    [ "$verdict" = lives ] && continue # redundant, and shown to be
    row "$name" "model/${scenario#by }" "$seconds" "$([ "$verdict" = caught ] || echo "not caught")"
  done < <(build/tests/model/explore "${names[@]}" | sed -nE \
    's/^(caught|lives|FAIL) +([a-z0-9_]+) by ([^ ]+) .* ([0-9.]+) s( .*)?$/\1 \2 \3 \4/p')
}

# ---- the table ----

# try NAME TEST FILE: prints what is wrong, if anything
try() {
  local limit args=()
  fresh_libbus
  mutate "$work/libbus/$3" || { echo "does not fit $3"; return; }
  build "$work/libbus" "$2" "$3" || { echo "does not compile"; cat "$work/log"; return; }
  # A failed test, a crash or a hang: each is an objection. A skipped test (77) is none.
  case $2 in
    unit/*) limit=10 ;;
    fuzz/*) limit=100 args=(-error_exitcode=1 -max_total_time=30 -max_len=1024 -use_value_profile=1 -artifact_prefix="$work/") ;;
    *) limit=100 ;;
  esac
  timeout $limit "${plain[@]}" "$work/test" "${args[@]}" >"$work/log" 2>&1
  case $? in
    0) echo "passes all the same" ;;
    77) echo "skipped: $(tail -n 1 "$work/log")" ;;
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

caught=0 failed=0 whole=0 suites=() name='' from='' to='' side=''
finish() {
  local finding
  [ -n "$name" ] && wanted "$name" "$@" || return
  local start=$EPOCHREALTIME seconds
  if [ $whole = 1 ]; then
    finding=$(try_whole "$name" "$test" "$file")
  else
    finding=$(try "$name" "$test" "$file")
  fi
  seconds=$(((${EPOCHREALTIME/./} - ${start/./}) / 100000))
  row "$name" "$test" "$((seconds / 10)).$((seconds % 10))" "$finding"
}

# row NAME SUITE SECONDS FINDING: a line of the table, and the account
row() {
  if [ -n "$4" ]; then
    printf 'FAIL   %-28s %-28s %6s s  %s\n' "$1" "$2" "$3" "$4"
    failed=$((failed + 1))
  else
    printf 'caught %-28s %-28s %6s s\n' "$1" "$2" "$3"
    caught=$((caught + 1))
    suites+=("${2%%/*}/$([[ $2 == model/* ]] && echo '*' || echo "${2#*/}")")
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
    '#'*) ;;
    '') [ -z "$side" ] || if [ "$side" = from ]; then from+=$'\n'; else to+=$'\n'; fi ;;
    'whole trees') finish "$@"; whole=1 name='' ;;
    *) if [ "$side" = from ]; then from+=$'\n'$line; else to+=$'\n'$line; fi ;;
  esac
done < <(cat tests/mutants/ring.txt "${fuzz[@]}"; echo 'whole trees'; cat tests/mutants/system.txt; echo 'mutant END')
if [ $# -eq 0 ] || [ "$*" = model ]; then
  model_mutants
fi
echo
printf '%s\n' "${suites[@]}" | sort | uniq -c | sort -rn
echo "mutants: $caught caught, $failed not"
[ $failed -eq 0 ] && [ $caught -gt 0 ]
