#!/bin/sh
# How long `tapeline book SYMBOL --at TIME` takes: the first question to a run, which makes its index, and
# later ones at times all over the session; without the index too. The times are the whole command's.
#
#     bench/seek.sh PROGRAM [SECONDS [QUESTIONS]]
#
# PROGRAM is a release build of tapeline; the session has 64 symbols and 20,000 messages a second, for
# SECONDS (600) from 09:30 on. Needs some 130 bytes of disk for a message, below TMPDIR.
set -eu
program=$1
seconds=${2:-600}
questions=${3:-20}
folder=$(mktemp -d "${TMPDIR:-/tmp}/seek.XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$program" -q sample itch --symbols 64 --seconds "$seconds" --rate 20000 --seed 7 -o "$folder/session.itch"
"$program" -q replay "$folder/session.itch" --date 2026-01-05 -o "$folder/run" > /dev/null
symbol=$(sed -n '2s/,.*//p' "$folder/run/digests.csv")
events=$(sed -n 's/.*"events": \([0-9]*\),.*/\1/p' "$folder/run/manifest.json" | head -1)
echo "$events events, $questions questions about $symbol"

# Milliseconds that a question takes.
ask() {
    at=$1
    shift
    before=$(date +%s%N)
    "$program" -q book "$symbol" --run "$folder/run" --at "$at" "$@" > "$folder/book.txt"
    after=$(date +%s%N)
    echo $(((after - before) / 1000000))
}

# The K-th of the times, so that they go to and fro.
time_of() {
    second=$((($1 * 7 % questions) * seconds / questions))
    printf '%02d:%02d:%02d.5' $((9 + (1800 + second) / 3600)) $(((1800 + second) / 60 % 60)) $((second % 60))
}

echo "first, with the making of the index: $(ask 09:30:30) ms, $(du -sh "$folder/run/index" | cut -f1)"
k=0
while [ "$k" -lt "$questions" ]; do
    ask "$(time_of "$k")"
    k=$((k + 1))
done | sort -n > "$folder/times"
echo "later: $(sed -n "$(((questions + 1) / 2))p" "$folder/times") ms in the middle, $(tail -1 "$folder/times") ms at most"
cp "$folder/book.txt" "$folder/with.txt"
last=$(time_of $((questions - 1)))
ask "$last" > /dev/null
cp "$folder/book.txt" "$folder/with.txt"
rm -r "$folder/run/index"
# A run that is not complete is walked through; so is this one where its index cannot be made.
touch "$folder/run/index"
echo "without an index, by a walk through the log: $(ask "$last") ms"
cmp "$folder/book.txt" "$folder/with.txt"
