#!/usr/bin/env bash
# Renders a report in headless Chromium, without a network, and looks whether something was drawn.
# usage: bench/lab/render.sh REPORT.html OUT.png
set -euo pipefail

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    { apt-get update -qq && apt-get install -y -qq chromium; } > /dev/null 2>&1 || true
    browser=$(command -v chromium || true)
fi
if [ -z "$browser" ]; then
    echo "skipped: no Chromium here, and none can be installed"
    exit 0
fi
if grep -Eo "(src *= *|url\\(|@import )[\"']?https?:[^\"')> ]*" "$1"; then
    echo "the page needs a network"
    exit 1
fi
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
# What the browser itself asks the network for is none of the page's, so it is told not to.
said=$("$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
    --disable-quic --host-resolver-rules="MAP * ~NOTFOUND" --enable-logging=stderr \
    --window-size=1200,3000 --screenshot="$2" "file://$(realpath "$1")" 2>&1) || {
    echo "$said" | tail -5
    echo "Chromium could not render $1"
    exit 1
}
# A page that lacks something, or a script that fails, is told by the console.
if grep CONSOLE <<< "$said"; then
    echo "the page complained"
    exit 1
fi
bytes=$(stat -c %s "$2")
# An empty page of this size is some 20 kB.
if [ "$bytes" -lt 100000 ]; then
    echo "$1: only $bytes bytes of picture: hardly anything was drawn"
    exit 1
fi
echo "rendered: $bytes bytes of picture"
