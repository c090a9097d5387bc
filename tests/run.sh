#!/bin/bash
# Runs the tests, two at a time: tests/run.sh [PATTERN...]   (make test TESTS='ring busd_*')
#
# A test is a script or a program of tests/{unit,integration,hostile,crash}; lib*.sh and lib*.c
# there are not. It exits 0 (passed), 77 (skipped, its last line of output says why) or anything
# else (failed). A pattern is matched against unit/NAME, bare words anywhere in it.
#
# Each test is started in the root of the source tree, without standard input, and is told
#   BUS_BUILD        the build directory          BUS_SAN   the sanitizer of that build, or empty
#   TMPDIR           its own, removed afterwards  XDG_RUNTIME_DIR  likewise, inside TMPDIR
#   STATE_DIRECTORY  inside TMPDIR: where a busd keeps streams that was not told otherwise
# and no BUS_SOCKET. What it leaves running is found by a mark in the environment, stopped, and
# mentioned in its line. Comment lines of the first 40 in its source may say
#   timeout: SECONDS     instead of 120
#   serial: WHY          it measures time: run alone, after the others
# BUS_TEST_JOBS is the number at a time, BUS_TEST_SLOW stretches the timeouts (default 1; under a
# sanitizer 3).
set -u
cd "$(dirname "$0")/.." || exit 1
BUS_BUILD=${BUS_BUILD:-$PWD/build}
BUS_SAN=${BUS_SAN:-}
slow=${BUS_TEST_SLOW:-${BUS_SAN:+3}}
slow=${slow:-1}
jobs=${BUS_TEST_JOBS:-2}
export BUS_BUILD BUS_SAN
unset BUS_SOCKET BUS_AUTOSTART MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"

# find_tests: one name (unit/ring) a line. By source, so that a test not built is missed.
find_tests() {
  local file name
  for file in tests/{unit,integration,hostile,crash}/*.{sh,c}; do
    [ -e "$file" ] || continue
    name=${file#tests/}
    case ${name##*/} in lib*) continue ;; esac
    # A program with a script of its name is that script's instrument.
    [[ $file == *.c && -e ${file%.c}.sh ]] && continue
    echo "${name%.*}"
  done | sort -u
}

matches() {
  local pattern
  [ $# -eq 1 ] && return 0
  for pattern in "${@:2}"; do
    # shellcheck disable=SC2254  # the pattern is a pattern
    case $1 in $pattern | *"$pattern"* | */$pattern) return 0 ;; esac
  done
  return 1
}

source_of() {
  if [ -e "tests/$1.sh" ]; then echo "tests/$1.sh"; else echo "tests/$1.c"; fi
}

# said NAME KEY: the value of a `KEY: value` comment line near the top of the test's source
said() {
  sed -nE "1,40{s%^[[:space:]]*(#|//|/?\*+)[[:space:]]*$2:[[:space:]]*(.*[^[:space:]*/])[[:space:]]*(\*/)?\$%\2%p}" \
    "$(source_of "$1")" | head -n 1
}

# leftovers MARK: pids of processes whose environment holds this test's mark
leftovers() {
  local file
  for file in /proc/[0-9]*/environ; do
    grep -qsF "BUS_TEST_MARK=$1" "$file" 2>/dev/null && echo "${file//[^0-9]/}"
  done
}

stop_leftovers() {
  local pids try
  left=0
  for try in TERM TERM KILL; do
    mapfile -t pids < <(leftovers "$1")
    [ ${#pids[@]} -eq 0 ] && return
    [ $left -eq 0 ] && left=${#pids[@]}
    kill -s CONT "${pids[@]}" 2>/dev/null
    kill -s $try "${pids[@]}" 2>/dev/null
    for _ in 1 2 3 4 5; do
      sleep 0.1
      kill -0 "${pids[@]}" 2>/dev/null || break
    done
  done
}

# run_one NAME: runs a test, prints its line, leaves NAME's verdict in $RUN_DIR/verdicts
run_one() {
  local name=$1 id=${1//\//_} limit start rc secs word note='' left=0 cmd
  local out=$RUN_DIR/$id.out
  export TMPDIR=$RUN_DIR/$id.tmp XDG_RUNTIME_DIR=$RUN_DIR/$id.tmp/run
  export STATE_DIRECTORY=$TMPDIR/state
  export BUS_TEST_MARK=$RUN_DIR/$id/ # the slash: one name may begin as another does
  mkdir -p "$XDG_RUNTIME_DIR"
  chmod 700 "$TMPDIR" "$XDG_RUNTIME_DIR"
  limit=$(said "$name" timeout)
  limit=$((${limit:-120} * slow))
  if [ -e "tests/$name.sh" ]; then cmd=(bash "tests/$name.sh"); else cmd=("$BUS_BUILD/tests/$name"); fi
  start=$EPOCHREALTIME
  timeout -k 5 "$limit" "${cmd[@]}" >"$out" 2>&1 </dev/null
  rc=$?
  secs=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
  stop_leftovers "$BUS_TEST_MARK"
  [ $left -gt 0 ] && note="  (stopped $left processes it left)"
  case $rc in
    0) word=ok ;;
    77) word=SKIP note+="  $(tail -n 1 "$out")" ;;
    124 | 137) word=FAIL note+="  timed out after $limit s or killed" ;;
    *) word=FAIL note+="  exit code $rc" ;;
  esac
  {
    flock 8
    printf '%-4s %7d.%03d s  %s%s\n' $word $((secs / 1000)) $((secs % 1000)) "$name" "$note"
    if [ $word = FAIL ]; then
      sed 's/^/     | /' "$out" | tail -n "${BUS_TEST_LINES:-200}"
    fi
    echo "$word $name$note" >>"$RUN_DIR/verdicts"
  } 8>>"$RUN_DIR/lock"
  # A test may have made directories that only its owner can enter.
  chmod -R u+rwX "$TMPDIR" 2>/dev/null
  rm -rf "$TMPDIR"
}

# run_all JOBS NAME...: as many at a time as JOBS
run_all() {
  local max=$1 running=0 name
  shift
  for name in "$@"; do
    if [ $running -ge "$max" ]; then
      wait -n
      running=$((running - 1))
    fi
    run_one "$name" &
    running=$((running + 1))
  done
  wait
}

clean_up() {
  local pids
  trap - EXIT INT TERM
  # Interrupted: what runs now carries this run's mark.
  mapfile -t pids < <(leftovers "$RUN_DIR/")
  [ ${#pids[@]} -gt 0 ] && kill -s KILL "${pids[@]}" 2>/dev/null
  rm -rf "$RUN_DIR"
}

RUN_DIR=$(mktemp -d "${TMPDIR:-/tmp}/bus-tests.XXXXXX") || exit 1
trap clean_up EXIT
trap 'clean_up; exit 130' INT TERM

parallel=()
serial=()
while read -r test; do
  matches "$test" "$@" || continue
  if [ -n "$(said "$test" serial)" ]; then serial+=("$test"); else parallel+=("$test"); fi
done < <(find_tests)

touch "$RUN_DIR/verdicts"
run_all "$jobs" "${parallel[@]}"
run_all 1 "${serial[@]}"

count() { grep -c "^$1 " "$RUN_DIR/verdicts"; }
passed=$(count ok) failed=$(count FAIL) skipped=$(count SKIP)

if [ "$skipped" -gt 0 ]; then
  echo
  echo "SKIPPED, so not shown by this run:"
  sed -n 's/^SKIP /  /p' "$RUN_DIR/verdicts" | sort
fi
if [ "$failed" -gt 0 ]; then
  echo
  echo "FAILED:"
  sed -n 's/^FAIL /  /p' "$RUN_DIR/verdicts" | sort
fi
expected=$((${#parallel[@]} + ${#serial[@]}))
if [ $((passed + failed + skipped)) -ne $expected ]; then
  echo "tests/run.sh: $expected tests were to run, not all reported" >&2
  failed=$((failed + 1))
fi
[ $expected -gt 0 ] || echo "tests/run.sh: no test ${*:+matches $* }to run" >&2
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
