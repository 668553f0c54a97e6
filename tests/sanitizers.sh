#!/usr/bin/env bash
# The ring and the whole pipeline under the thread sanitizer and the address sanitizer:
#   tests/sanitizers.sh [events through the ring] [messages per second of the sample session]
# Usual are a million and a small session, for CI; 100000000 and 161000 are the full check.
# The sanitizers come with the compiler, behind a switch of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
events=${1:-1000000}
rate=${2:-2000}
host=$(rustc -vV | sed -n 's/^host: //p')
# What a sanitizer sees does not depend on the last third of the speed, the time of two builds does.
export RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A flag that changes what calls mean must be the same everywhere; the standard library is not
# built anew, so the compiler is told that it differs.
flags() { echo "-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer"; }

# The first build says whether the sanitizer is to be had here.
if ! (echo 'fn main() {}' > "$work/empty.rs" && cd "$work" &&
    rustc $(flags thread) --target "$host" empty.rs) > "$work/why" 2>&1; then
    echo "skipped: no thread sanitizer here: $(grep -m 1 -v '^$' "$work/why")"
    exit 0
fi

echo "-- the ring, $events events, thread sanitizer"
RUSTFLAGS="$(flags thread)" cargo build --quiet --release --target "$host" \
    --manifest-path tests/tsan/Cargo.toml --target-dir target/tsan
ring=target/tsan/$host/release/tsan
TSAN_OPTIONS="halt_on_error=1" "$ring" sound "$events"

echo "-- a ring whose writer does not release what it wrote: must be reported"
if TSAN_OPTIONS="halt_on_error=1" "$ring" relaxed 1000000 > "$work/relaxed" 2>&1; then
    echo "the sanitizer reported nothing"
    exit 1
fi
grep -m 1 "WARNING: ThreadSanitizer: data race" "$work/relaxed"

for sanitizer in thread address; do
    echo "-- the pipeline, $sanitizer sanitizer"
    RUSTFLAGS="$(flags $sanitizer)" cargo build --quiet --release --target "$host" \
        --target-dir "target/$sanitizer-sanitizer"
    tapeline=target/$sanitizer-sanitizer/$host/release/tapeline
    export TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/tests/tsan/suppressions.txt"
    if [ ! -e "$work/session.pcap.zst" ]; then
        "$tapeline" sample itch --symbols 200 --seconds 60 --rate "$rate" --seed 1 \
            -o "$work/session.pcap.zst"
    fi
    for backend in auto plain; do
        printf '[log]\nbackend = "%s"\n[run]\nshards = 2\n' $backend > "$work/run.toml"
        "$tapeline" replay "$work/session.pcap.zst" --config "$work/run.toml" \
            -o "$work/$sanitizer-$backend" | tail -n 3
    done
    cmp "$work/$sanitizer-auto/digests.csv" "$work/$sanitizer-plain/digests.csv"
done
cmp "$work/thread-auto/digests.csv" "$work/address-auto/digests.csv"
echo "no reports; all runs have the same digests"
