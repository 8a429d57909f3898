#!/usr/bin/env bash
# Installs libaquifer, shared and static, with its headers, pkg-config file and CMake package.
#
#   ffi/package/install.sh [--prefix DIR] [--libdir DIR] [--destdir DIR] [--built DIR]
#
# --prefix   where programs will find it (/usr/local)
# --libdir   of the libraries, below the prefix (lib; Debian's own would be lib/x86_64-linux-gnu)
# --destdir  put everything below this folder instead, for a package
# --built    install what cargo built in this folder, instead of building the release first
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
prefix=/usr/local libdir=lib destdir='' built=''
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
refuse() { echo "install.sh: $1; --help names the options" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case "$1" in
        --help | -h) usage; exit 0 ;;
        --prefix | --libdir | --destdir | --built)
            [ $# -gt 1 ] || refuse "$1 needs a folder behind it" ;;
        *) refuse "unknown option $1" ;;
    esac
    case "$1" in
        --prefix) prefix=$2 ;;
        --libdir) libdir=$2 ;;
        --destdir) destdir=$2 ;;
        --built) built=$2 ;;
    esac
    shift 2
done
case "$prefix" in /*) ;; *) refuse "--prefix must begin with /" ;; esac

if [ -z "$built" ]; then
    cargo build --manifest-path "$root/Cargo.toml" --release --package aquifer-ffi
    built=${CARGO_TARGET_DIR:-$root/target}/release
fi
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
abi=$(sed -n 's/^#define AQF_ABI_OLDEST \([0-9]*\)u$/\1/p' "$root/include/aquifer.h")

lib=$destdir$prefix/$libdir
install -d "$destdir$prefix/include" "$lib/pkgconfig" "$lib/cmake/aquifer"
install -m 644 "$root"/include/aquifer.h "$root"/include/aquifer.hpp "$destdir$prefix/include"
install -m 755 "$built/libaquifer_ffi.so" "$lib/libaquifer.so.$version"
ln -sf "libaquifer.so.$version" "$lib/libaquifer.so.$abi"
ln -sf "libaquifer.so.$abi" "$lib/libaquifer.so"
install -m 644 "$built/libaquifer_ffi.a" "$lib/libaquifer.a"
fill() {
    sed -e "s|@prefix@|$prefix|g" -e "s|@libdir@|$libdir|g" -e "s|@version@|$version|g" \
        -e "s|@abi@|$abi|g" "$here/$1" > "$2"
    chmod 644 "$2"
}
fill aquifer.pc.in "$lib/pkgconfig/aquifer.pc"
fill aquiferConfig.cmake.in "$lib/cmake/aquifer/aquiferConfig.cmake"
fill aquiferConfigVersion.cmake.in "$lib/cmake/aquifer/aquiferConfigVersion.cmake"
echo "installed libaquifer $version below $destdir$prefix"
