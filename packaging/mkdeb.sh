#!/bin/bash
# Makes the Debian packages from an installation manifest; called by `make deb`:
#
#   packaging/mkdeb.sh BUILD_DIR VERSION OUTPUT_DIR
#
# dpkg-deb and dpkg-shlibdeps alone (package dpkg-dev), no debhelper: the manifest already says
# what goes where. Symbols of programs and of libbus.so are stripped.
set -eu
cd "$(dirname "$0")/.."
build=$1 version=$2 output=$3
arch=$(dpkg --print-architecture)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
# Where dpkg-shlibdeps looks for packages: debian/NAME/, each with a DEBIAN directory.
work=$top/debian
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# stage PACKAGE: its files below $work/PACKAGE
stage() {
  local package mode from to dest
  mkdir -p "$work/$1/DEBIAN"
  while read -r package mode from to; do
    [ "$package" = "$1" ] || continue
    dest=$work/$1$to
    case $mode in
      link)
        mkdir -p "${dest%/*}"
        ln -s "$from" "$dest"
        continue
        ;;
    esac
    [ -e "$from" ] || { echo "mkdeb: $1 needs $from, which is not there" >&2; exit 1; }
    install -D -m "$mode" "$from" "$dest"
    case $to in
      *.so.* | */bin/*) strip --strip-unneeded "$dest" ;;
      */man/*) gzip -9n "$dest" ;;
    esac
  done <"$build/install.list"
  install -D -m 644 LICENSE "$work/$1/usr/share/doc/$1/copyright"
}

# shlibs PACKAGE: Depends of what its programs are linked with, libbus itself left out
shlibs() {
  local files out
  mapfile -t files < <(find "$work/$1" -type f \( -path '*/bin/*' -o -name '*.so.*' \))
  [ ${#files[@]} -gt 0 ] || return 0
  printf 'Source: busd\n\nPackage: %s\nArchitecture: any\n' "$1" >"$work/control"
  # libbus.so.0 has no package yet that dpkg could find: it is known by this list.
  echo "libbus 0 libbus0 (= $version)" >"$work/shlibs.local"
  out=$(cd "$top" && dpkg-shlibdeps -O -l"$work/libbus0/$libdir" "${files[@]}") || exit 1
  sed -n 's/^shlibs:Depends=//p' <<<"$out"
}

# pack PACKAGE SECTION DEPENDS SHORT LONG [FIELD]: control file, checksums, the .deb
pack() {
  local dir=$work/$1
  {
    echo "Package: $1"
    echo "Version: $version"
    echo "Architecture: $arch"
    echo "Maintainer: the busd authors <root@localhost>"
    echo "Section: $2"
    echo "Priority: optional"
    [ -z "$3" ] || echo "Depends: $3"
    [ -z "${6:-}" ] || echo "$6"
    echo "Installed-Size: $(du -sk --exclude=DEBIAN "$dir" | cut -f1)"
    echo "Description: $4"
    echo " $5"
  } >"$dir/DEBIAN/control"
  (cd "$dir" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) \
    >"$dir/DEBIAN/md5sums"
  find "$dir" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group --build "$dir" "$output/$1_${version}_$arch.deb" | sed 's/^/  /'
}

libdir=$(sed -n 's|^libbus0 644 [^ ]* \(.*\)/libbus\.so\.0$|\1|p' "$build/install.list")
for p in libbus0 libbus-dev busd bus-tools; do stage $p; done

echo 'activate-noawait ldconfig' >"$work/libbus0/DEBIAN/triggers"
install -m 755 packaging/busd.postinst "$work/busd/DEBIAN/postinst"
install -m 755 packaging/busd.prerm "$work/busd/DEBIAN/prerm"

pack libbus0 libs "$(shlibs libbus0)" 'client library of a message bus in shared memory' \
  'Processes of one machine publish and subscribe with no copy and no system call per message.' \
  'Recommends: busd'
pack libbus-dev libdevel "libbus0 (= $version)" 'client library of a message bus, development files' \
  'Headers, static library, pkg-config file and manual pages of libbus.'
pack busd net "$(shlibs busd)" 'daemon of a message bus in shared memory' \
  'Names topics, places their memory, hands it over and notices deaths; no message passes through it.'
pack bus-tools net "$(shlibs bus-tools)" 'command-line tools of a message bus in shared memory' \
  'bus and bus-*: publish, subscribe, observe, measure.' 'Recommends: busd'
