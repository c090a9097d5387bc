#!/bin/bash
# What `make install` places is enough to build and run a program against, and `make uninstall`
# takes all of it away. Needs no busd.
set -eu
root=$TMPDIR/root
quiet_make() {
  # -o all: the build under test is not rebuilt while other tests use it
  make --no-print-directory -o all NO_DEPS=1 BUILD="$BUS_BUILD" SAN="$BUS_SAN" DESTDIR="$root" \
    PREFIX=/opt/bus UNITDIR=/opt/bus/units "$@" >"$TMPDIR/out" 2>&1 || { cat "$TMPDIR/out"; exit 1; }
}
fail() { echo "$1"; exit 1; }

quiet_make install
export PKG_CONFIG_PATH=$root/opt/bus/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root

header=$(sed -n 's/^#define[[:space:]]*BUS_VERSION[[:space:]]*"\(.*\)".*/\1/p' "$root/opt/bus/include/bus.h")
[ "$(pkg-config --modversion libbus)" = "$header" ] || fail "libbus.pc and bus.h disagree on the version"

# A user's program: no header of ours but the installed ones, the library found by pkg-config.
cat >"$TMPDIR/user.c" <<'C'
#include <bus.h>
#include <stdio.h>

int main(void)
{
	struct bus *bus;
	const struct bus_connect_opts opts = { .size = sizeof(opts), .socket = "/nonexistent/bus.sock" };
	int r = bus_connect(&bus, &opts);

	printf("%s\n", r < 0 ? "refused" : "connected");
	return r < 0 ? 0 : 1;
}
C
san=${BUS_SAN:+-fsanitize=$BUS_SAN}
# shellcheck disable=SC2046,SC2086  # lists of flags
gcc $san -o "$TMPDIR/user" "$TMPDIR/user.c" $(pkg-config --cflags --libs libbus)
[ "$(LD_LIBRARY_PATH=$root/opt/bus/lib "$TMPDIR/user")" = refused ] || fail "the installed library does not run"

# Installed programs find the library beside them, wherever the tree lies.
[ -x "$root/opt/bus/bin/bus-pub" ] || fail "no bus-pub"
"$root/opt/bus/bin/bus-pub" --version >/dev/null || fail "the installed bus-pub does not start"
grep -q "^ExecStart=/opt/bus/bin/busd " "$root/opt/bus/units/busd.service" || fail "the unit starts something else"

quiet_make uninstall
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "uninstall left: $left"
