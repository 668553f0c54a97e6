#!/usr/bin/env bash
# The feed in one network namespace, the live run in another, and a wire between them that loses,
# doubles, delays and reorders packets: with retransmission the run's digests are those of a replay.
#   tests/netns.sh [the program]
# Needs root. The faults are the kernel's own (tc netem) where it has them, else serve-feed's, which a
# line says. All is made in namespaces that end with this.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ] || ! command -v ip > /dev/null; then
    echo "skipped: network namespaces: they need root and ip"
    exit 0
fi
if [ -z "${TAPELINE_NETNS_INSIDE:-}" ]; then
    program=${1:-}
    if [ -z "$program" ]; then
        cargo build --release --locked
        program=${CARGO_TARGET_DIR:-target}/release/tapeline
    fi
    program=$(realpath "$program")
    if ! unshare --mount --net true 2> /dev/null; then
        echo "skipped: network namespaces are refused here"
        exit 0
    fi
    TAPELINE_NETNS_INSIDE=1 exec unshare --mount --net "$0" "$program"
fi

program=$1
work=$(mktemp -d)
serving='' listening=''
finish() {
    for process in $serving $listening; do
        kill "$process" 2> /dev/null || true
        wait "$process" 2> /dev/null || true
    done
    ip netns del tapeline-feed 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

if ! ip netns add tapeline-feed 2> "$work/why" ||
    ! ip link add wire0 type veth peer name wire1 netns tapeline-feed 2> "$work/why"; then
    echo "skipped: network namespaces: $(cat "$work/why")"
    exit 0
fi
feed=(ip netns exec tapeline-feed)
ip link set lo up
ip addr add 10.99.0.1/24 dev wire0
ip link set wire0 up
"${feed[@]}" ip link set lo up
"${feed[@]}" ip addr add 10.99.0.2/24 dev wire1
"${feed[@]}" ip link set wire1 up

# Answers and requests cross the same wire, and are lost as well.
faults=()
if "${feed[@]}" tc qdisc add dev wire1 root netem \
    delay 500us 200us loss 3% duplicate 2% reorder 3% 25% 2> /dev/null; then
    echo "faults by netem"
else
    echo "this kernel has no netem: faults by serve-feed"
    faults=(--loss 5% --duplicate 2% --reorder 3)
fi

"$program" sample itch --symbols 16 --seconds 3 --rate 2000 --seed 5 -o "$work/session.itch" \
    > /dev/null 2>&1
"$program" replay "$work/session.itch" -o "$work/replay" > /dev/null 2>&1
cat > "$work/live.toml" << END
[source]
lines = ["239.255.78.1:26400", "239.255.78.2:26401"]
interface = "10.99.0.1"
receive_buffer = "16MiB"
[source.gaps]
wait = "5s"
reorder_packets = 4096
hold_packets = 8192
[source.retransmit]
server = "10.99.0.2:26500"
timeout = "50ms"
tries = 14
END
"$program" run -c "$work/live.toml" -o "$work/live" > "$work/run.out" 2>&1 &
listening=$!
until grep -q "listening on" "$work/run.out"; do
    kill -0 "$listening" || { cat "$work/run.out"; exit 1; }
    sleep 0.05
done
"${feed[@]}" "$program" serve-feed "$work/session.itch" --interface 10.99.0.2 --rate 4000/s \
    --line 239.255.78.1:26400 --line 239.255.78.2:26401 "${faults[@]}" --drop-both 1500..1900 \
    --retransmit 10.99.0.2:26500 --linger 1h > "$work/serve.out" 2>&1 &
serving=$!
code=0
timeout 120 tail --pid="$listening" -f /dev/null || code=$?
if [ "$code" != 0 ]; then
    cat "$work/run.out" "$work/serve.out"
    echo "the run did not end"
    exit 1
fi
wait "$listening" || { cat "$work/run.out"; exit 1; }
listening=''
cmp "$work/live/digests.csv" "$work/replay/digests.csv"
grep -q '"recovered": [1-9]' "$work/live/manifest.json"
tr -d ' \n' < "$work/live/manifest.json" | grep -o '"retransmission":{[^}]*}'
echo "across network namespaces the digests are those of the replay"
