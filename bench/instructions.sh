#!/usr/bin/env bash
# Counts the instructions of the hot path under callgrind and holds them to what is stored.
#
#   bench/instructions.sh           compare: within 1 % either way, or it fails
#   bench/instructions.sh --store   store what is counted now
#
# A count is stored by compiler, target CPU, the C library, valgrind and the processor, since all of
# them decide what is executed (the C library chooses its memcpy by the processor). Where nothing is
# stored for the ones at hand, or valgrind is missing, one line says so and nothing is held.
# The histograms that are always on must cost less than 2 % of what a shard executes.
set -euo pipefail
cd "$(dirname "$0")/.."

stored=bench/instructions.txt
if ! command -v valgrind > /dev/null; then
    echo "skipped: no valgrind here"
    exit 0
fi
cpu=$(printf '%s\n' "${RUSTFLAGS:-}" | sed -n 's/.*target-cpu=\([^ ]*\).*/\1/p')
libc=$(getconf GNU_LIBC_VERSION 2> /dev/null || echo libc)
processor=$(awk -F ': *' '/^(model name|cpu family|model|stepping)[ \t]*:/ { print $2 } /^$/ { exit }' /proc/cpuinfo | paste -sd ' ')
key=$(printf '%s/' "$(rustc -V | cut -d' ' -f2,3)" "$(rustc -vV | sed -n 's/^host: //p')" \
    "${cpu:-default}" "$libc" "$(valgrind --version)" "$processor" | tr -d '()' | tr -s ' ' '-')
key=${key%/}
${CARGO:-cargo} build --release --locked --quiet -p bench --example instructions
program=${CARGO_TARGET_DIR:-target}/release/examples/instructions

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
        '--toggle-collect=*measured_*' "$program" "$1" 2>&1 |
        awk '/Collected/ { print $NF }'
}

failed=0
declare -A counts
for part in decode core shard shard-stamped shard-paced; do
    counts[$part]=$(count "$part")
    if [ -z "${counts[$part]}" ]; then
        echo "skipped: callgrind counted nothing for $part"
        exit 0
    fi
done

if [ "${1:-}" = --store ]; then
    touch "$stored"
    grep -v "^$key " "$stored" > "$stored.new" || true
    for part in decode core shard shard-stamped shard-paced; do
        echo "$key $part ${counts[$part]}" >> "$stored.new"
    done
    sort -o "$stored" "$stored.new"
    rm "$stored.new"
    echo "stored for $key"
else
    for part in decode core shard shard-stamped shard-paced; do
        want=$(awk -v key="$key" -v part="$part" '$1 == key && $2 == part { print $3 }' "$stored")
        if [ -z "$want" ]; then
            echo "skipped: no count of $part is stored for $key"
            continue
        fi
        awk -v part="$part" -v got="${counts[$part]}" -v want="$want" 'BEGIN {
            change = got / want - 1
            word = change > 0.01 || change < -0.01 ? "CHANGED" : "holds"
            printf "%-14s %12d instructions, stored %12d, %+.3f %% %s\n", part, got, want, change * 100, word
            exit word == "CHANGED" }' || failed=1
    done
fi

awk -v bare="${counts[shard]}" -v stamped="${counts[shard-stamped]}" 'BEGIN {
    cost = stamped / bare - 1
    printf "histograms at full speed: %+.2f %% of a shard (want at most 2 %%)\n", cost * 100
    exit cost > 0.02 }' || failed=1
awk -v bare="${counts[shard]}" -v paced="${counts[shard-paced]}" 'BEGIN {
    printf "with a packet for each message, at a pace: %+.2f %%\n", (paced / bare - 1) * 100 }'
if [ "$failed" = 1 ]; then
    echo "a change on purpose, also an improvement, is stored with bench/instructions.sh --store"
    exit 1
fi
