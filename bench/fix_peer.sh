#!/usr/bin/env bash
# FIX messages by this program and by QuickFIX's C++ engine, in turns, in the same minute.
#
#   bench/fix_peer.sh QUICKFIX
#
# QUICKFIX is a checkout of github.com/quickfix/quickfix (v1.15.1 was used); only its message classes
# are compiled, with g++ -O3 -march=native, while ours is built for any processor, as it is released.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 1 ] && [ -f "$1/src/C++/Message.cpp" ] || {
    echo "want a checkout of QuickFIX, with src/C++/Message.cpp" >&2
    exit 2
}
built=${CARGO_TARGET_DIR:-target}/fix_peer
mkdir -p "$built"
# Both are made by its configure: no option, and the allocator of the library.
touch "$built/config.h" "$built/Allocator.h"
if [ ! -x "$built/quickfix" ] || [ bench/peers/quickfix.cpp -nt "$built/quickfix" ]; then
    sources=()
    for name in DataDictionary FieldConvertors FieldMap FieldTypes Group Message MessageSorters \
        PUGIXML_DOMDocument Utility pugixml; do
        sources+=("$1/src/C++/$name.cpp")
    done
    g++ -std=c++14 -O3 -march=native -w "-I$built" "-I$1/src/C++" bench/peers/quickfix.cpp \
        "${sources[@]}" -lpthread -o "$built/quickfix"
fi
bench=("${CARGO:-cargo}" bench --quiet -p bench --bench fix -- --noplot)
for turn in 1 2; do
    echo "## QuickFIX, turn $turn"
    "$built/quickfix"
    echo "## tapeline, turn $turn"
    "${bench[@]}" 2> /dev/null | grep -E 'time:|^fix:'
done
