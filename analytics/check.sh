#!/usr/bin/env bash
# Joins and declared windows against Polars, on samples and on real captures where there are some, and the
# example of WINDOWS.md from its settings to a picture. Part of .ci/run.
#
#   analytics/check.sh PROGRAM PYTHON DIR       PYTHON has polars and matplotlib; DIR takes the example
set -euo pipefail
program=$(realpath "$1") python=$2
mkdir -p "$3"
out=$(realpath "$3")
cd "$(dirname "$0")"

"$python" check_windows.py "$program"
"$python" check_joins.py "$program"
data=
for parent in .. ../.. ../../..; do
    if [ -d "$parent/shared/data" ]; then data=$parent/shared/data; break; fi
done
if [ -z "$data" ]; then
    echo "skipped: no folder shared/data with real captures here or above"
else
    for capture in "$data"/lobster/*message_50.csv.zst "$data"/itch50/AAPL*.itch50.zst; do
        "$python" check_windows.py "$program" "$capture"
        "$python" check_joins.py "$program" "$capture"
    done
fi

"$program" sample itch --symbols 4 --seconds 120 --rate 2000 --seed 5 --force -q -o "$out/day.pcap.zst"
rm -rf "$out/run"
"$program" replay "$out/day.pcap.zst" -c example/windows.toml -o "$out/run" -q > /dev/null
for picture in windows.svg windows.png; do
    "$python" example/plot.py "$out/run" "$out/$picture"
done
