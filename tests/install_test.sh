#!/usr/bin/env bash
# What a user of the installed library meets: make install into a folder of its own, then examples/classify.c against
# that by pkg-config (shared and static) and by find_package().
#
#   tests/install_test.sh BUILD_DIR
set -uo pipefail
build=$(cd "${1:?usage: install_test.sh BUILD_DIR}" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/stage/opt/tilewise
data=${TILEWISE_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/tilewise}
passed=0 failed=0 skipped=0

check() # NAME COMMAND...
{
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "FAIL $name"
        tail -n 15 "$work/log"
        failed=$((failed + 1))
    fi
}

skip() # NAME REASON
{
    echo "SKIP $1: $2"
    skipped=$((skipped + 1))
}

installs()
{
    DESTDIR=$work/stage cmake --install "$build" --prefix /opt/tilewise && [ -f "$root/include/tilewise.h" ] &&
        "$root/bin/tilewise" --help
}

# The example classifies a cat where the weights are there, and explains its usage where they are not.
works() # PROGRAM
{
    if [ -f "$data/efficientnet_lite0.pth" ]; then
        "$1" "$data/efficientnet_lite0.pth" "$data/photos/chelsea.png" | tee /dev/stderr | head -n 1 | grep -q '^class 282'
    else
        "$1"
        [ $? -eq 2 ]
    fi
}

# The functions of tilewise.h, no more and no fewer. The compiler lists them: -aux-info names each prototype.
exports_the_header()
{
    echo '#include <tilewise.h>' >"$work/header.c"
    gcc -std=c17 -I"$root/include" -aux-info "$work/prototypes" -fsyntax-only "$work/header.c" &&
        grep -F "$root/include/tilewise.h" "$work/prototypes" | grep -oE 'tw_[a-z0-9_]+ \(' | tr -d ' (' | sort >"$work/declared" &&
        nm -D --defined-only "$libdir/libtilewise.so" | awk '{ print $3 }' | sort >"$work/exported" &&
        [ -s "$work/declared" ] && diff "$work/declared" "$work/exported"
}

by_pkg_config() # NAME LIBRARIES...
{
    local name=$1
    shift
    # shellcheck disable=SC2046 # flags are words
    cc "$source/examples/classify.c" -o "$work/$name" $(pkg-config --cflags tilewise) "$@" -lm &&
        LD_LIBRARY_PATH=$libdir works "$work/$name"
}

by_cmake() # TARGET
{
    local folder=$work/cmake-$1
    mkdir -p "$folder"
    cat >"$folder/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(tilewise $version REQUIRED)
add_executable(user $source/examples/classify.c)
target_link_libraries(user PRIVATE tilewise::$1 m)
END
    cmake -S "$folder" -B "$folder/build" -DCMAKE_PREFIX_PATH="$root" && cmake --build "$folder/build" &&
        works "$folder/build/user"
}

check 'install' installs
libdir=$(dirname "$(find "$root" -name libtilewise.a | head -n 1)")
export PKG_CONFIG_PATH=$libdir/pkgconfig
version=$(sed -n 's/^#define TW_VERSION "\(.*\)"/\1/p' "$source/include/tilewise.h")
check 'version in tilewise.pc' [ "$(pkg-config --modversion tilewise 2>&1)" = "$version" ]
if [ -f "$libdir/libtilewise.so" ]; then
    check 'exported names' exports_the_header
    # shellcheck disable=SC2046
    check 'pkg-config, shared' by_pkg_config shared $(pkg-config --libs tilewise)
else
    skip 'shared library' 'not built'
fi
# shellcheck disable=SC2046
check 'pkg-config, static' by_pkg_config static $(pkg-config --static --libs tilewise | sed 's/-ltilewise/-l:libtilewise.a/')
check 'find_package' by_cmake tilewise
check 'find_package, static' by_cmake static
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
