#!/usr/bin/env bash
# The log's tier in a store of objects: the crate's own tests, and the real program against a real
# S3 server on this machine. Needs Python 3, and a package registry for the server (moto).
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
pids=()
end() {
    [ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
fail() { echo "object store: $*" >&2; exit 1; }

echo "-- the crate: every request refused, unanswered, cut short, spoilt"
${CARGO:-cargo} test --quiet --workspace --locked --features object-store --test tier
${CARGO:-cargo} clippy --quiet --package objects --features object-store --all-targets --locked -- -D warnings
${CARGO:-cargo} build --quiet --workspace --locked --features object-store --bin tapeline
cp "${CARGO_TARGET_DIR:-target}/debug/tapeline" "$work/tapeline"
tapeline() { timeout 100 "$work/tapeline" "$@"; }

echo "-- the program and a real server"
if ! { python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet \
    'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5; } >"$work/why" 2>&1; then
    echo "skipped: no S3 server here: $(tail -n 1 "$work/why")"
    exit 0
fi

# Starts a helper and waits until it says its port.
start() {
    local said=$work/port-${#pids[@]}
    mkfifo "$said"
    "$work/venv/bin/python" tests/object_store.py "$@" >"$said" 2>"$work/server.log" &
    pids+=($!)
    read -r -t 60 port <"$said" || fail "no server: $(tail -n 3 "$work/server.log")"
}
# All there is around must not count, only what is set here.
unset ${!AWS_@}
export AWS_ACCESS_KEY_ID=name AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1 AWS_ALLOW_HTTP=true
through() { export AWS_ENDPOINT_URL=http://127.0.0.1:$1; }

cd "$work"
cat >plain.toml <<'EOF'
[log]
segment = "128KiB"
frame = "16KiB"
[checkpoint]
every = "100ms"
EOF
sed 's|^\[log\]|[log]\ntier = "s3://cold/some/runs"|' plain.toml >s3.toml
tapeline --quiet sample itch --symbols 16 --seconds 20 --rate 6000 --seed 5 -o day.pcap.zst
tapeline --quiet replay day.pcap.zst -c plain.toml -o plain >/dev/null
symbol=$(sed -n 's/.*"symbol":"\([^"]*\)".*/\1/p;T;q' plain/symbols.json)
first() { ls "$1/log/shard-0" | grep -m 1 seg; }
# What every command must find: the same as in the run that kept its log to itself.
reads_like_plain() {
    tapeline --quiet log verify "$1" >/dev/null
    tapeline --quiet diff plain "$1" >/dev/null
    tapeline --quiet verify "$1" --against day.truth.json >/dev/null
    # Where `sent` stands depends on the disk; it moves the cells of what follows.
    for run in plain "$1"; do
        tapeline log cat "$run" | awk '$4 != "sent" { $2 = ""; print }' | sha256sum >"cat-$run"
        tapeline book "$symbol" --at 09:30:05 --run "$run" >"book-$run"
    done
    cmp cat-plain "cat-$1"
    cmp book-plain "book-$1"
}

cd "$OLDPWD"; start serve cold; cd "$work"
server=$port
through "$server"
tapeline config check s3.toml 2>/dev/null
tapeline --quiet replay day.pcap.zst -c s3.toml --speed 10x -o cold >/dev/null
[ "$(first cold)" != 0000000000.seg ] || fail "nothing was moved"
reads_like_plain cold
tapeline log index cold | grep -q ' tier$' || fail "the index does not say what is in the tier"
tapeline --quiet shadow cold >/dev/null
tapeline --quiet savepoint create cold --name here >/dev/null 2>&1
tapeline --quiet savepoint restore cold here -o restored >/dev/null 2>&1
echo "moved, and read by every command: $(tapeline log index cold | grep -c ' tier$') segments"

# Killed when something was moved.
"$work/tapeline" --quiet replay day.pcap.zst -c s3.toml --speed 4x -o killed >/dev/null &
life=$!
for _ in $(seq 600); do
    [ "$(first killed 2>/dev/null || true)" \> 0000000003.seg ] && break
    sleep 0.05
done
kill -9 $life
wait $life 2>/dev/null || true
[ "$(first killed)" != 0000000000.seg ] || fail "nothing was moved before the kill"
tapeline --quiet replay --resume killed --speed max >/dev/null
reads_like_plain killed
echo "killed and resumed: equal"

# The way to the store breaks in the middle of an upload: the first one, so that all stays here.
cd "$OLDPWD"; start way "$server" 2; cd "$work"
through "$port"
tapeline replay day.pcap.zst -c s3.toml --speed 10x -o alone >/dev/null 2>said || fail "$(cat said)"
grep -o 'no room made.*' said
[ "$(grep -c 's3://cold' said)" = 1 ] || fail "it is to be said once: $(cat said)"
[ "$(first alone)" = 0000000000.seg ] || fail "a segment is gone"
reads_like_plain alone

# And a later one: the tables want what was moved, and can be made once it is there again.
cd "$OLDPWD"; start way "$server" 8; cd "$work"
through "$port"
if tapeline replay day.pcap.zst -c s3.toml --speed 10x -o broken >/dev/null 2>said; then
    fail "tables without the log"
fi
[ "$(grep -c 's3://cold' said)" = 1 ] || fail "it is to be said once: $(cat said)"
grep -q 'replay --resume broken' said || fail "$(cat said)"
through "$server"
tapeline --quiet replay --resume broken >/dev/null
reads_like_plain broken
echo "the way to the store broke: nothing lost"

# Another server that has such a bucket is not the place, and neither is none at all.
cd "$OLDPWD"; start serve cold; cd "$work"
through "$port"
if tapeline log verify cold >/dev/null 2>said; then fail "an empty bucket was believed"; fi
grep -q 'there is no object TIER' said || fail "$(cat said)"
kill -9 "${pids[0]}"
wait "${pids[0]}" 2>/dev/null || true
through "$server"
began=$SECONDS
if tapeline log verify cold >/dev/null 2>said; then fail "no server was believed"; fi
grep -q 'Connection refused' said || fail "$(cat said)"
tapeline --quiet log verify alone >/dev/null
[ $((SECONDS - began)) -lt 30 ] || fail "that took long"
echo "all passed"
