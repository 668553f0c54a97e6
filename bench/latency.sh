#!/bin/bash
# Measures the latency of the live path beside its floors, in the same minutes, and writes the table of
# bench/RESULTS.md anew, between its two marks. `bench/results.sh latency` is the same.
#
#   bench/latency.sh [ROUNDS]        5 rounds take some 6 minutes; run nothing else meanwhile
#
# QUIET may name a command that runs another when the machine is quiet. Everything else is in the
# repository: the floors are a bare ring (rtrb) and a bare echo of datagrams to TCP.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
work=${WORK:-${TMPDIR:-/tmp}/tapeline-latency}
rm -rf "$work"
mkdir -p "$work"
table="$work/table.md"

echo "building" >&2
${CARGO:-cargo} build --release --locked -q --bin tapeline
${CARGO:-cargo} build --release --locked -q -p bench --example hop --example receive
programs=${CARGO_TARGET_DIR:-target}/release

# A result that is INVALID (7) or SATURATED (8) has its figures too, and says so.
bench() { # NAME WORDS...
  local name=$1 code=0
  shift
  echo "tapeline bench $*" >&2
  ${QUIET:-} "$programs/tapeline" -q bench "$@" -o "$work/$name" > "$work/$name.txt" || code=$?
  case $code in 0 | 7 | 8) ;; *) cat "$work/$name.txt" >&2; exit "$code" ;; esac
}

figure() { # NAME STAGE COLUMN: nanoseconds, or n/a
  awk -F, -v stage="$2" -v column="$3" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
    $1 == "all" && $2 == stage { print $(at[column]) }' "$work/$1/percentiles.csv"
}
say() { # nanoseconds, for people
  awk -v ns="$1" 'BEGIN { if (ns == "n/a" || ns == "") print "n/a"
    else if (ns < 1e3) printf "%d ns", ns
    else if (ns < 1e6) printf "%.*f us", ns < 1e4 ? 2 : ns < 1e5 ? 1 : 0, ns / 1e3
    else printf "%.1f ms", ns / 1e6 }'
}
pair() { echo "$(say "$(figure "$1" "$2" p50_ns)"), $(say "$(figure "$1" "$2" p99_ns)")"; }
times() { # NAME COLUMN: wire to floor
  awk -v a="$(figure "$1" wire "$2")" -v b="$(figure "$1" floor "$2")" \
    'BEGIN { if (a > 0 && b > 0) printf "%.2f", a / b; else print "n/a" }'
}
verdict() { awk -F'"' '/^  "verdict":/ { print $4 }' "$work/$1/report.json"; }

hop() {
  echo "hop $rounds 2" >&2
  ${QUIET:-} "$programs/examples/hop" "$rounds" 2
}
receive() {
  echo "receive $rounds" >&2
  ${QUIET:-} "$programs/examples/receive" "$rounds"
}

rates=(20k 100k)
for rate in "${rates[@]}"; do
  for durability in fast durable; do
    bench "wire-$rate-$durability" wire --model run-to-completion --durability "$durability" \
      --rate "$rate/s" --symbols 50 --duration 4s --warmup 1s --trials "$rounds"
  done
done
bench jitter jitter --duration 5s

{
  echo "Commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- . ':!*.md' || echo ' with changes'), $(date -u +%F),"
  echo "$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) cores, Linux $(uname -r), $(rustc --version | cut -d' ' -f1,2)."
  echo "Command: \`bench/results.sh latency $rounds\`."
  echo
  echo "From the reader to a shard, whole pipeline with its log, beside the bare ring in turns"
  echo "(\`hop $rounds 2\`; asked: 1.3 times the bare ring at p50):"
  echo
  hop
  echo
  echo "From a datagram to its order over TCP, one thread (\`tapeline bench wire --model"
  echo "run-to-completion --symbols 50 --duration 4s --warmup 1s --trials $rounds --rate R --durability D\`), p50"
  echo "and p99; asked: 1.2 times the bare echo at p50 and 1.6 times at p99, our own share 1 us and 5 us,"
  echo "with \`fast\`:"
  echo
  echo "| datagrams, orders leave | sent to order read | bare echo | p50, p99 to the echo's | our own share: received to \`send\` | decided to durable | verdict |"
  echo "| --- | --- | --- | --- | --- | --- | --- |"
  for rate in "${rates[@]}"; do
    for durability in fast durable; do
      name=wire-$rate-$durability
      durable=
      [ "$durability" = fast ] || durable=$(pair "$name" durable)
      echo "| $rate/s, $durability | $(pair "$name" wire) | $(pair "$name" floor) | **$(times "$name" p50_ns)**, **$(times "$name" p99_ns)** | $(pair "$name" reaction) | $durable | $(verdict "$name") |"
    done
  done
  echo
  echo "Packets of one message from multicast over loopback, one core beside a bare loop of \`recvmmsg\`"
  echo "that only counts, in turns (\`receive $rounds\`); what waits is taken with nobody sending:"
  echo
  echo '```text'
  receive
  echo '```'
  echo
  echo "What the machine did by itself (\`tapeline bench jitter --duration 5s\`), a thread that only spins:"
  echo
  echo '```text'
  sed 's/\x1b\[[0-9;]*m//g' "$work/jitter.txt" | grep -v '^$' | grep -v '^report' | head -20
  echo '```'
  echo
  echo "Why a verdict is not VALID:"
  echo
  echo '```text'
  for rate in "${rates[@]}"; do
    for durability in fast durable; do
      name=wire-$rate-$durability
      awk -v name="$rate/s, $durability: " '
        /^  "reasons": \[/ { on = 1; next } /^  \]/ { on = 0 }
        on { gsub(/^ *"|",?$/, ""); print name $0 }' "$work/$name/report.json" | cut -c1-180
    done
  done | sort | uniq | head -24
  echo '```'
} > "$table"

awk -v table="$table" '
  /^<!-- latency: begin/ { print; while ((getline line < table) > 0) print line; skip = 1 }
  /^<!-- latency: end/ { skip = 0 }
  !skip || /^<!-- latency: end/ { if ($0 !~ /^<!-- latency: begin/) print }
' bench/RESULTS.md > "$work/results.md"
mv "$work/results.md" bench/RESULTS.md
cat "$table"
