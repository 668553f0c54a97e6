#!/usr/bin/env bash
# Faults of the real kernel against the real program: tests/real/run.sh [quick|full]
#
# Needs root for mounts, and for FUSE its headers. What is missing it tries to install with apt;
# what still is missing skips its part with one line. Everything is mounted, and every network
# setting made, in namespaces of its own, which end with it. TAPELINE_REAL_ONLY=power runs only the
# tests whose names have that.
set -euo pipefail
cd "$(dirname "$0")/../.."
depth=${1:-quick}
case $depth in quick | full) ;; *) echo "usage: tests/real/run.sh [quick|full]" >&2; exit 2 ;; esac

if [ "$(id -u)" != 0 ]; then
    echo "skipped: real faults: they need root"
    exit 0
fi
if [ -z "${TAPELINE_REAL_INSIDE:-}" ]; then
    # Built outside, where there is a network for packages.
    said=$(${CARGO:-cargo} test --release --locked --test real --no-run 2>&1) || {
        echo "$said" >&2
        exit 1
    }
    TAPELINE_REAL_TEST=$(sed -n 's/.*Executable.*(\(.*\))$/\1/p' <<<"$said")
    export TAPELINE_REAL_TEST
    missing=()
    [ -e /usr/include/fuse3/fuse.h ] || missing+=(libfuse3-dev fuse3 pkg-config)
    command -v mkfs.xfs >/dev/null || missing+=(xfsprogs)
    command -v faketime >/dev/null || missing+=(faketime)
    if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
        apt-get install -y "${missing[@]}" >/dev/null 2>&1 || true
    fi
    if ! unshare --mount --net true 2>/dev/null; then
        echo "skipped: real faults: namespaces are refused here"
        exit 0
    fi
    TAPELINE_REAL_INSIDE=1 exec unshare --mount --net "$0" "$depth"
fi

ip link set lo up 2>/dev/null || true
# So small that a peer which takes nothing is noticed within a session.
for name in tcp_rmem tcp_wmem; do
    echo "4096 4096 4096" 2>/dev/null >"/proc/sys/net/ipv4/$name" || true
done
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cc -O2 -Wall -o "$tools/no_uring" tests/real/no_uring.c || true
if [ -e /dev/fuse ] && flags=$(pkg-config --cflags --libs fuse3 2>/dev/null); then
    # shellcheck disable=SC2086
    cc -O2 -Wall -o "$tools/faultdisk" tests/real/faultdisk.c $flags || true
fi
TAPELINE_REAL=$depth TAPELINE_REAL_TOOLS=$tools \
    "$TAPELINE_REAL_TEST" --nocapture --test-threads=1 ${TAPELINE_REAL_ONLY:-}
