#!/usr/bin/env python3
"""Makes a picture of a terminal's text: tapeline demo | python3 bench/picture.py > bench/demo.svg"""
import html
import sys

lines = sys.stdin.read().rstrip("\n").split("\n")
# Temporary paths say nothing.
lines = [line for line in lines if "/tmp/" not in line and not line.startswith("Look further")]
width = max(map(len, lines)) * 7.3 + 40
height = len(lines) * 17 + 40
print(
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
    f'viewBox="0 0 {width:.0f} {height}"><rect width="100%" height="100%" rx="8" fill="#14171c"/>'
    '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="12" '
    'fill="#d6dbe3" xml:space="preserve">'
)
for number, line in enumerate(lines):
    color = ""
    if line[:2] in ("1.", "2.", "3."):
        color = ' fill="#7fc1ff" font-weight="bold"'
    elif line.startswith(("symbol ", "latency ")):
        color = ' fill="#8a93a3"'
    elif " equal" in line[:20]:
        color = ' fill="#7ddf9a"'
    print(f'<text x="20" y="{number * 17 + 32}"{color}>{html.escape(line)}</text>')
print("</g></svg>")
