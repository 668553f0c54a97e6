#!/bin/bash
# Measures the hot path against the fastest published book on the same file in the same minutes, and
# writes the table of bench/RESULTS.md anew, between its two marks.
#
#   bench/results.sh [ROUNDS]            5 rounds take some 3 minutes; run nothing else meanwhile
#   bench/results.sh latency [ROUNDS]    the latencies' table instead: see bench/latency.sh
#   bench/results.sh all [ROUNDS]        both
#
# The peer (charles-cooper/itch-order-book, built by clang with its own flags, on huge pages) is
# fetched; without a network, or with PEER=none, its columns say so. PEER=DIR takes it from there.
# Ours is built with the same -march; where there is valgrind, a plainer one besides, whose
# instructions it counts.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
latency)
  shift
  exec bench/latency.sh "$@"
  ;;
all)
  shift
  bench/latency.sh "$@"
  ;;
esac
rounds=${1:-5}
work=${WORK:-${TMPDIR:-/tmp}/tapeline-results}
mkdir -p "$work"
table="$work/table.md"

echo "building" >&2
# What the processor has; valgrind does not know all of it, so that its program is a plainer one.
RUSTFLAGS="-C target-cpu=native" CARGO_TARGET_DIR=${TARGET_NATIVE:-target/native} \
  ${CARGO:-cargo} build --release --locked -q -p bench --example hot
hot=${TARGET_NATIVE:-target/native}/release/examples/hot

plain=
if command -v valgrind > /dev/null; then
  CARGO_TARGET_DIR=${TARGET_PLAIN:-target/plain} \
    ${CARGO:-cargo} build --release --locked -q -p bench --example hot
  plain=${TARGET_PLAIN:-target/plain}/release/examples/hot
fi

stream() { [ -s "$work/$1" ] || "$hot" stream "$work/$1.new" "$2" "$3" >&2; [ -s "$work/$1" ] || mv "$work/$1.new" "$work/$1"; }
stream day 8000 10000000
stream small 8000 2000000
stream narrow 100 4000000
stream wide 10000 4000000

peer=
if [ "${PEER:-}" != none ]; then
  source=${PEER:-$work/itch-order-book}
  [ -d "$source" ] || git clone -q --depth 1 https://github.com/charles-cooper/itch-order-book "$source" 2>/dev/null || true
  compiler=$(command -v clang++ || true)
  if [ -d "$source" ] && [ -n "$compiler" ]; then
    mkdir -p "$work/peer"
    # Room for all 16 bits of a symbol's number.
    for file in "$source"/*.h; do
      sed 's/MAX_BOOKS = 1 << 14/MAX_BOOKS = 1 << 16/' "$file" > "$work/peer/${file##*/}"
    done
    "$compiler" -O3 -march=native -DNDEBUG -std=c++1y -w -I "$work/peer" \
      bench/peers/itch_order_book.cpp -o "$work/peer/book" && peer="$work/peer/book"
  fi
  [ -n "$peer" ] || echo "skipped the peer: it or clang++ cannot be had" >&2
fi

# One core, the last one, for all that runs on one.
core=$(($(nproc) - 1))
on_one() { taskset -c "$core" "$@"; }
run_peer() { GLIBC_TUNABLES=glibc.malloc.hugetlb=1 on_one "$peer" "$work/day"; }
run_decode() { on_one "$hot" decode "$work/day"; }
run_l3() { on_one "$hot" l3 "$work/day"; }
run_l2() { on_one "$hot" l2 "$work/day"; }
run_core() { on_one "$hot" core "$work/day"; }
run_narrow() { on_one "$hot" core "$work/narrow"; }
run_wide() { on_one "$hot" core "$work/wide"; }
run_narrow_l3() { on_one "$hot" l3 "$work/narrow"; }
run_wide_l3() { on_one "$hot" l3 "$work/wide"; }
run_pipeline() { "$hot" pipeline "$work/day" "$work/runs"; rm -rf "$work/runs"; }

names=(decode l3 l2 core narrow_l3 wide_l3 narrow wide pipeline)
[ -z "$peer" ] || names=(peer "${names[@]}")
declare -A times sums
mkdir -p "$work/runs"
for ((round = 0; round < rounds; round++)); do
  order=("${names[@]}")
  # There and back again, so that what drifts meets all alike.
  if ((round % 2)); then
    order=()
    for name in "${names[@]}"; do order=("$name" "${order[@]}"); done
  fi
  for name in "${order[@]}"; do
    mkdir -p "$work/runs"
    said=$(run_"$name")
    times[$name]+=" ${said%% *}"
    sums[$name]=${said##* }
  done
done
if [ -n "$peer" ]; then
  for name in l3 l2 core pipeline; do
    [ "${sums[$name]}" = "${sums[peer]}" ] || { echo "$name and the peer end with other books" >&2; exit 1; }
  done
fi

median() { tr ' ' '\n' <<<"${times[$1]:-}" | grep . | sort -n | awk '{ a[NR] = $1 } END { if (NR) printf "%.1f", a[int((NR + 1) / 2)] }'; }
least() { tr ' ' '\n' <<<"${times[$1]:-}" | grep . | sort -n | awk 'NR == 1 { printf "%.1f", $1 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a != "" && b != "" && b > 0) printf "%.2f", a / b; else printf "n/a" }'; }
row() { # NAME WHAT ASKED BASE
  local base=${4:-}
  echo "| $2 | $3 | $(median "$1") ($(least "$1")) | ${base:+$(ratio "$(median "$1")" "$(median "$base")") ($(ratio "$(least "$1")" "$(least "$base")"))} |"
}

# What one of so many shards executes for its own events: to decode and to share out is the
# reader's, on a core of its own.
share() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
    '--toggle-collect=*measured_*' "$plain" share "$work/small" "$@" 2>&1 | awk '/Collected/ { print $NF }'
}
share_row() {
  local what="| instructions of the busiest of two shards, 2 M messages | one shard has 1.8 times as many |"
  if [ -z "$plain" ]; then echo "$what n/a: no valgrind here | |"; return; fi
  local one first second
  one=$(share 1 0) first=$(share 2 0) second=$(share 2 1)
  awk -v one="$one" -v a="$first" -v b="$second" -v what="$what" 'BEGIN {
    most = a > b ? a : b
    printf "%s %.0f M of %.0f M | %.2f times |\n", what, most / 1e6, one / 1e6, one / most }'
}

{
  echo "Commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' with changes'), $(date -u +%F),"
  echo "$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) cores, Linux $(uname -r), $(rustc --version | cut -d' ' -f1,2)."
  echo "Medians (least) of $rounds rounds in turns; ns for each message of 10 million on 8,000 symbols"
  echo "unless said; load $(cut -d' ' -f1 /proc/loadavg) at the end. Command: \`bench/results.sh $rounds\`."
  echo
  echo "| what | asked | ns | to the peer's book |"
  echo "| --- | --- | --- | --- |"
  [ -z "$peer" ] || echo "| peer: decode and L2 book, one core | | $(median peer) ($(least peer)) | 1 |"
  row decode "decode" "at most 4.5 ns"
  row l3 "decode and full L3 book, one core" "0.75 of the peer" peer
  row l2 "decode and L2 book without queues, one core" "0.6 of the peer" peer
  row core "decode and L3 book with analytics, risk and digests" "" peer
  row pipeline "whole pipeline, one shard, durable log" "1.3 of the peer, then 1.0" peer
  row narrow_l3 "decode and full L3 book, 100 symbols, 4 M messages" ""
  row wide_l3 "decode and full L3 book, 10,000 symbols, 4 M messages" "" narrow_l3
  row narrow "all of one core, 100 symbols, 4 M messages" ""
  row wide "all of one core, 10,000 symbols, 4 M messages" "below 1.5 of 100 symbols" narrow
  share_row
  echo
  echo "In the lines of 10,000 symbols the ratio is to 100 symbols."
  echo
  echo '```text'
  on_one "$hot" ticks "$work/day"
  on_one "$hot" windows "$work/wide"
  on_one "$hot" windows "$work/wide" 10
  on_one "$hot" memory "$work/day"
  echo '```'
} > "$table"

awk -v table="$table" '
  /^<!-- hot path: begin/ { print; while ((getline line < table) > 0) print line; skip = 1 }
  /^<!-- hot path: end/ { skip = 0 }
  !skip || /^<!-- hot path: end/ { if ($0 !~ /^<!-- hot path: begin/) print }
' bench/RESULTS.md > "$work/results.md"
mv "$work/results.md" bench/RESULTS.md
cat "$table"
