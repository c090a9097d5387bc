#!/bin/bash
# make lint: what the reader may rely on without reading. scripts/lint.sh [CHECK...]
#
# Each check is a function check_NAME that prints `file:line: what is wrong` for each finding.
# scripts/lint/selftest.sh breaks each rule once in a copy and expects its check to object.
#
#   layers     includes go down only; one owner for each foreign header; public headers for tools
#   names      no banned words in file names and struct tags
#   sizes      functions and files stay small (scripts/lint/long.txt lists the exceptions)
#   format     clang-format finds nothing to change
#   compile    no compiler warning in any program, test or example
#   symbols    ring/ needs no libc but mem*; internal names tell their file; the
#              libraries define what the public headers declare, and nothing more
#   cppcheck   warnings and portability
#   shell      shellcheck on every script
set -u
cd "$(dirname "$0")/.." || exit 1
LINT_BUILD=${LINT_BUILD:-build/lint}
shopt -s nullglob

# owner HEADER-PATTERN WHERE FILE...: only FILEs may include it, of those below WHERE
owner() {
  local pattern=$1 where=$2 file
  shift 2
  # shellcheck disable=SC2086  # WHERE is a list
  grep -rnE --include='*.[ch]' "^[[:space:]]*#[[:space:]]*include[[:space:]]*<($pattern)>" $where |
    while IFS=: read -r file line _; do
      [[ " $* " == *" $file "* ]] || echo "$file:$line: only $* may include <$pattern>"
    done
}

present() {
  local dir
  for dir in "$@"; do [ -d "$dir" ] && printf '%s ' "$dir"; done
}

check_layers() {
  local layers=(base format ring os api) own dirs i j
  # In libbus/X a header of X or of a layer below X; the public headers belong to api.
  for i in "${!layers[@]}"; do
    own=${layers[i]}
    [ -d "libbus/$own" ] || continue
    for ((j = i + 1; j < ${#layers[@]}; j++)); do
      grep -rnE "^[[:space:]]*#[[:space:]]*include.*[\"/<]${layers[j]}/" "libbus/$own" |
        sed "s|\$|   (${layers[j]} is above $own)|"
    done
    grep -rnE '^[[:space:]]*#[[:space:]]*include.*"\.\.?/' "libbus/$own"
    [ "$own" = api ] || grep -rnE '^[[:space:]]*#[[:space:]]*include.*["<]bus(_[a-z]+)?\.h[">]' "libbus/$own" |
      sed "s|\$|   (the public headers are above $own)|"
  done
  [ -d busd ] && grep -rnE '^[[:space:]]*#[[:space:]]*include.*["/<]api/' busd |
    sed 's|$|   (busd does not stand on the client API)|'
  dirs=$(present tools docs/examples bench)
  # shellcheck disable=SC2086
  [ -n "$dirs" ] && grep -rnE --include='*.[ch]' --include='*.cc' \
    '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<](\.\./|libbus/|busd/|(base|format|ring|os|api)/)' $dirs |
    sed 's|$|   (public headers only)|'
  [ -d libbus/include ] && grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' libbus/include |
    grep -vE '"bus(_[a-z]+)?\.h"' | sed 's|$|   (a public header needs public headers only)|'
  dirs=$(present libbus busd tools docs/examples)
  owner 'stdatomic\.h' "$dirs" libbus/base/atomic.h
  owner 'numa\.h|numaif\.h' "$dirs" busd/numa.c
  owner 'seccomp\.h' "$dirs" busd/sandbox.c
  owner 'liburing\.h' "$dirs" busd/io_uring.c libbus/os/wake.c libbus/os/wake_fd.c
  # tools/bench_* measure the machine's own limit, beside the bus.
  # shellcheck disable=SC2086
  [ -n "$dirs" ] && grep -rnE --include='*.[ch]' '\b(__atomic_|__sync_)[a-z_]+[[:space:]]*\(' $dirs |
    grep -vE '^(libbus/base/atomic\.h|tools/bench_[a-z_]+\.[ch]):' | sed 's|$|   (atomics have their order in the name: base/atomic.h)|'
}

check_names() {
  local banned='channel|manager|helper|util|utils|common|core|context|handle|data2'
  local dirs
  find . -name .git -prune -o -path ./build -prune -o -type f -print |
    grep -E "(^|[/_.-])($banned|node)([/_.-]|$)" | sed 's|$|:1: banned word in a file name|'
  dirs=$(present libbus busd tools bench)
  # `node` stays free inside C: a NUMA node is called that.
  # shellcheck disable=SC2086
  [ -n "$dirs" ] && grep -rnE --include='*.[ch]' \
    "\b(struct|enum|union)[[:space:]]+([a-z0-9]+_)*($banned)(_[a-z0-9_]+)?\b" $dirs |
    sed 's|$|   (banned word in a tag)|'
  # shellcheck disable=SC2086
  [ -n "$dirs" ] && grep -rnE --include='*.[ch]' '^[[:space:]]*typedef[[:space:]]+(struct|union)\b' $dirs |
    sed 's|$|   (no typedef of a struct)|'
}

check_sizes() {
  local file allowed=scripts/lint/long.txt
  for file in $(scripts/lint/files.sh); do
    # A function opens and closes with a brace in the first column.
    awk -v file="$file" '
      /^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
      /^\{/ { start = NR }
      /^\}/ { if (start && NR - start - 1 > 80)
                printf "%s:%d: %s has %d lines, more than 80\n", file, start, name, NR - start - 1
              start = 0 }
      END { if (file ~ /\.c$/ && NR > 700) printf "%s:1: file has %d lines, more than 700\n", file, NR }
    ' "$file"
  done | while IFS= read -r finding; do
    # long.txt: `file function` or `file file`, then the reason
    file=${finding%%:*}
    name=$(sed -E 's/^[^ ]* ([^ ]+) has .*/\1/' <<<"$finding")
    grep -qsE "^$file $name( |\$)" $allowed || echo "$finding"
  done
}

check_format() {
  local version
  version=$(clang-format --version 2>&1) || { echo "clang-format does not run: $version"; return; }
  if [[ $version != *'version 14.'* ]]; then
    echo "lint: format NOT CHECKED: the style is that of clang-format 14, here is $version" >&2
    return
  fi
  scripts/lint/files.sh | xargs -r clang-format --dry-run 2>&1 | grep -E 'warning:|error:' |
    sed -E 's/: (warning|error): .*/: not as clang-format writes it (make format)/' | sort -u
}

lint_make() {
  env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
    make --no-print-directory -j"$(nproc)" NO_DEPS=1 WERROR=1 CFLAGS=-O2 BUILD="$LINT_BUILD" "$@"
}

check_compile() {
  { lint_make -k everything >/dev/null; } 2>&1
}

check_symbols() {
  local lib=$LINT_BUILD/libbus.a so=$LINT_BUILD/libbus.so.0 objs own obj stem layer
  lint_make "$lib" "$so" >/dev/null 2>&1 || { echo 'libbus does not build (see the check compile)'; return; }
  objs=("$LINT_BUILD"/obj/libbus/ring/*.o)
  if [ ${#objs[@]} -gt 0 ]; then
    # What ring/ takes from itself and from the layers below is its own affair.
    own=$(nm --defined-only -g "$LINT_BUILD"/obj/libbus/{base,format,ring}/*.o 2>/dev/null | awk 'NF == 3 { print $3 }')
    nm -u "${objs[@]}" | awk 'NF == 2 { print $2 }' | sort -u | grep -vxF "${own:-none}" |
      grep -vxE 'mem(cpy|move|set|cmp)|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_' |
      sed 's|^|libbus/ring: calls outside itself: |'
  fi
  nm --defined-only -g "$lib" | awk 'NF == 3 { print $3 }' |
    grep -vE '^bus_[a-z]' | sed 's|^|libbus.a: a global name that is not public: |'
  # Inside, a name that crosses files is bus__ something, or begins with its file or layer.
  for obj in "$LINT_BUILD"/obj/libbus/{base,format,ring,os,api}/*.o; do
    stem=$(basename "$obj" .o) layer=$(basename "$(dirname "$obj")")
    nm --defined-only -g "$obj" | awk 'NF == 3 { print $3 }' |
      grep -vE "^(bus_|bus__|${layer}_|${stem}_|${stem%%_*}_)" |
      sed "s|^|libbus/$layer/$stem.c: name of no file or layer: |"
  done
  local exported declared
  exported=$(nm -D --defined-only "$so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
  # Prototypes of the public headers, as the preprocessor leaves them.
  declared=$(for h in libbus/include/*.h; do echo "#include \"$h\""; done | gcc -E -P -I libbus/include -I . - |
    tr '\n;' ' \n' | grep -v 'static ' | grep -oE '\bbus_[a-z0-9_]+ ?\(' | tr -d ' (' | sort -u)
  comm -23 <(echo "$exported" | grep .) <(echo "$declared") | sed 's|^|libbus.so: exported but in no public header: |'
  comm -13 <(echo "$exported") <(echo "$declared") | sed 's|^|libbus.so: declared but not exported: |'
}

check_cppcheck() {
  local dirs
  dirs=$(present libbus busd tools docs/examples)
  [ -n "$dirs" ] || return
  mkdir -p "$LINT_BUILD/cppcheck"
  # shellcheck disable=SC2086
  cppcheck -q -j "$(nproc)" --std=c11 --language=c --enable=warning,portability --inline-suppr \
    --cppcheck-build-dir="$LINT_BUILD/cppcheck" --suppressions-list=scripts/lint/cppcheck.txt \
    -D_GNU_SOURCE -D__linux__ -D__x86_64__ -I libbus/include -I libbus -I busd -I tools \
    --template='{file}:{line}: {severity}: {message} [{id}]' $dirs 2>&1
}

check_shell() {
  local files
  mapfile -t files < <(find .ci scripts tests packaging bench -type f -print0 2>/dev/null |
    xargs -r0 grep -lE '^#!/bin/(ba)?sh' | sort)
  [ ${#files[@]} -gt 0 ] && shellcheck -x -f gcc -S warning "${files[@]}" 2>&1
}

# run CHECK...: one after another; fails where one finds something
run() {
  local c start findings ms failed=0
  for c in "$@"; do
    start=$EPOCHREALTIME
    findings=$("check_$c")
    ms=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
    if [ -n "$findings" ]; then
      echo "$findings"
      failed=1
    fi
    printf '%-4s %7d.%03d s  lint/%s\n' "$([ -n "$findings" ] && echo FAIL || echo ok)" $((ms / 1000)) $((ms % 1000)) "$c"
  done
  return $failed
}

if [ $# -gt 0 ]; then
  run "$@"
else # those that build, and beside them those that read
  run compile symbols cppcheck &
  builds=$!
  run layers names sizes format shell
  failed=$?
  wait $builds && [ $failed -eq 0 ]
fi
