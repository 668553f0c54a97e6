#!/usr/bin/env bash
# Fuzzes what reads stored bytes, files of captures and messages, from the shipped seeds:
#   tests/fuzz.sh [seconds for each target] [each]
# With `each`, every protocol's messages have that time to themselves.
# No piece of memory may be larger than the targets say (tests/fuzz/src): 2 MiB for a file, 1 MiB for
# messages.
# What is found lies in tests/fuzz/artifacts; what was learnt, in target/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
each=${2:-}
if ! cargo fuzz --version > /dev/null 2>&1 &&
    ! cargo install --quiet --locked --root target/tools cargo-fuzz > target/cargo-fuzz.log 2>&1; then
    echo "skipped: cargo-fuzz cannot be installed here: $(tail -n 1 target/cargo-fuzz.log)"
    exit 0
fi
found=$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d)
trap 'rm -rf "$found"' EXIT
export PATH="$PWD/target/tools/bin:$PATH" RUSTC_BOOTSTRAP=1 TMPDIR=$found

fuzz() { # target, seconds, folder for the corpus, longest input
    mkdir -p "$3"
    cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz "$1" "$3" "tests/fuzz/seeds/$1" \
        -- -dict="tests/fuzz/$1.dict" -max_total_time="$2" -max_len="${4:-256}" -len_control=0 \
        -print_final_stats=1 -verbosity=0
}

for target in log checkpoint messages fix journal soup ouch; do
    echo "-- $target, $seconds s"
    fuzz $target "$seconds" "target/fuzz/corpus/$target"
done
if [ "$each" = each ]; then
    for kind in {0..11}; do
        echo "-- messages of kind $kind, $seconds s"
        TAPELINE_PROTOCOL=$kind fuzz messages "$seconds" "target/fuzz/corpus/messages-$kind"
    done
fi
echo "-- captures, $seconds s"
fuzz captures "$seconds" target/fuzz/corpus/captures 1024

echo "-- with a bug planted, the same must find something"
for bug in ChecksumSkipped ChainUnchecked; do
    if TAPELINE_PLANTED=$bug fuzz log 120 "$found/$bug" > "$found/out" 2>&1; then
        echo "$bug was not found"
        exit 1
    fi
    # The input that shows a planted bug is none of ours to keep.
    artifact=$(sed -n 's/.*Test unit written to \(.*\)/\1/p' "$found/out" | head -n 1)
    grep -m 1 "panicked at" "$found/out" && rm -f "$artifact"
done
