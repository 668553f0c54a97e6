#!/usr/bin/env bash
# Line and branch coverage of the log by its own tests:
#   tests/coverage.sh [path in the report, if not bus/src/log]
# Needs the tools of the LLVM that rustc was built with (Debian: llvm-22), which `rustc -vV` names.
# Tests at the end of a file count as its lines. Branches are what `match`, `if` and `?` decide.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-bus/src/log}
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if ! command -v "llvm-profdata-$llvm" > /dev/null || ! command -v "llvm-cov-$llvm" > /dev/null; then
    echo "skipped: llvm-profdata-$llvm and llvm-cov-$llvm are not installed"
    exit 0
fi
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cinstrument-coverage -Zcoverage-options=branch"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/coverage}
profiles=$(mktemp -d)
trap 'rm -rf "$profiles"' EXIT
run() { LLVM_PROFILE_FILE="$profiles/%p-%m.profraw" cargo test -p bus --lib --test log "$@"; }
run --quiet
objects=$(run --no-run --message-format=json 2> /dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/-object \1/p')
"llvm-profdata-$llvm" merge -sparse -o "$profiles/all.profdata" "$profiles"/*.profraw
"llvm-cov-$llvm" report --show-branch-summary -instr-profile "$profiles/all.profdata" $objects \
    --sources "$PWD/$what"
if [ -n "${SHOW:-}" ]; then
    "llvm-cov-$llvm" show --show-branches=count -instr-profile "$profiles/all.profdata" $objects \
        --sources "$PWD/$what" > "$SHOW"
fi
