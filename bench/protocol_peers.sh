#!/usr/bin/env bash
# Other decoders beside ours, on the same bytes in the same run: a table for RESULTS.md.
#
#   bench/protocol_peers.sh [--messages 1000000] [--rounds 9] [--only NAME]
#
# Both sides are built alike, for the processor at hand: sonic-rs has its SIMD only then. CPU says which core
# the turns are taken on; without it, the last one.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/protocol_peers
export RUSTFLAGS="-C target-cpu=native ${RUSTFLAGS:-}"
"${CARGO:-cargo}" build --quiet --release --locked --manifest-path bench/peers/Cargo.toml
cpu=${CPU:-$(($(nproc) - 1))}
echo "$(git rev-parse --short HEAD), $(rustc --version), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs)"
echo "$(date -u +%F), core $cpu, load $(cut -d' ' -f1 /proc/loadavg)"
echo
taskset -c "$cpu" "$CARGO_TARGET_DIR/release/peers" "$@"
echo
echo "load at the end $(cut -d' ' -f1 /proc/loadavg)"
