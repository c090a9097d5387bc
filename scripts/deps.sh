#!/bin/bash
# Checks for the Debian packages that a make target needs, and installs what is missing.
#
#   scripts/deps.sh SET...     SET: build test bench lint fuzz deb spin
#
# Called by make before it compiles, so it looks only for files: nothing missing costs no
# call of apt. Missing packages are installed by root, or by sudo where it asks no password;
# elsewhere, and with BUS_NO_INSTALL=1, they are named and the exit code is 1.
set -u

# set | package | a header below /usr/include, or !command, or +file of clang's own
TABLE='
build|gcc|!gcc
build|make|!make
build|libc6-dev|stdio.h
build|liburing-dev|liburing.h
build|libnuma-dev|numa.h
build|libyaml-dev|yaml.h
build|libseccomp-dev|seccomp.h
build|libjansson-dev|jansson.h
build|libncurses-dev|ncurses.h
test|libcmocka-dev|cmocka.h
test|pkg-config|!pkg-config
test|strace|!strace
test|procps|!ps
bench|g++|!g++
bench|libbenchmark-dev|benchmark/benchmark.h
lint|clang-format|!clang-format
lint|clang-tidy|!clang-tidy
lint|cppcheck|!cppcheck
lint|shellcheck|!shellcheck
fuzz|clang|!clang
fuzz|libclang-rt-dev|+include/fuzzer/FuzzedDataProvider.h
deb|dpkg-dev|!dpkg-shlibdeps
spin|spin|!spin
'

have_header() {
  local dir
  for dir in /usr/include /usr/local/include; do
    [ -e "$dir/$1" ] && return 0
  done
  # A header may lie elsewhere (CPATH, a multiarch directory): the compiler has the last word.
  command -v gcc >/dev/null && echo "#include <$1>" | gcc -E - >/dev/null 2>&1
}

find_missing() {
  local set package probe
  missing=()
  while IFS='|' read -r set package probe; do
    [ -n "$set" ] && [[ " $sets " == *" $set "* ]] || continue
    case $probe in
      !*) command -v "${probe#!}" >/dev/null && continue ;;
      +*) [ -e "$(clang -print-file-name="${probe#+}" 2>/dev/null)" ] && continue ;;
      *) have_header "$probe" && continue ;;
    esac
    missing+=("$package")
  done <<<"$TABLE"
}

give_up() {
  echo "deps: missing packages: ${missing[*]}" >&2
  echo "deps: $1; please run:  ${2:-apt-get install ${missing[*]}}" >&2
  exit 1
}

install_missing() {
  log=$(mktemp) || exit 1
  trap 'rm -f "$log"' EXIT
  echo "deps: installing ${missing[*]} (apt-get install)"
  # Package lists may be absent or old: they are fetched only once an install failed.
  if ! apt_install >"$log" 2>&1; then
    "${as_root[@]}" apt-get -qq update >>"$log" 2>&1 </dev/null
    if ! apt_install >>"$log" 2>&1; then
      tail -n 20 "$log" >&2
      give_up "apt-get could not install them"
    fi
  fi
}

apt_install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" </dev/null
}

sets="$*"
[ -n "$sets" ] || { echo "usage: scripts/deps.sh SET..." >&2; exit 2; }
for s in "$@"; do
  [[ $TABLE == *$'\n'"$s|"* ]] || { echo "deps: no such set: $s" >&2; exit 2; }
done

find_missing
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null ||
  give_up "there is no apt-get here" "(the packages above, under Debian's names)"
[ "${BUS_NO_INSTALL:-0}" = 1 ] && give_up "BUS_NO_INSTALL=1 forbids installing" \
  "apt-get install ${missing[*]}"
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  give_up "no right to install them" "sudo apt-get install ${missing[*]}"
fi

# Two makes at once: the second waits, then finds nothing left to install.
exec 9<"$0"
flock 9
find_missing
[ ${#missing[@]} -eq 0 ] && exit 0
install_missing
find_missing
[ ${#missing[@]} -eq 0 ] || give_up "still not found after the installation"
