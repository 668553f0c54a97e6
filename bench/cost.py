#!/usr/bin/env python3
"""What each analytic costs, from `bench/benches/analytics.rs`, for the tables of `analytics/*.md`.

    bench/cost.py            # two minutes; prints the tables; run nothing else meanwhile
    bench/cost.py --write    # and puts them into the pages, between their two marks

A row is the shortest of criterion's samples, less that of the row it is compared with.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMAND = "bench/cost.py --write"
END = "<!-- end of cost -->"
# Page, then row of the bench and how the page calls it.
PAGES = {
    "WINDOWS": [
        ("suite_100", "the default suite, 100 symbols"),
        ("suite_1000", "the default suite, 1,000 symbols"),
        ("suite_10000", "the default suite, 10,000 symbols"),
        ("alone_windows", "of it, three plain windows"),
        ("windows_1", "one sliding window (10 s, 1 s)"),
        ("windows_10", "each of 10 such"),
        ("windows_100", "each of 100 such"),
        ("window_tumbling", "one `tumbling`, 1 s, declared"),
        ("window_cumulative", "one `cumulative`, 60 s, 1 s"),
        ("window_session", "one `session`, 1 s"),
        ("window_count", "one `count`, 50 trades"),
        ("window_volume", "one `volume`, 10,000"),
        ("aggregate_sides", "one sliding, with buy and sell volume"),
        ("aggregate_variance", "one sliding, with realised variance"),
        ("aggregate_sizes", "one sliding, with quantiles of sizes"),
        ("aggregate_standing", "one sliding, with what is weighted with time"),
    ],
    "SPREADS": [("alone_spread", "the spread alert")],
    "REGIMES": [("alone_regime", "the volatility regime")],
    "MOMENTUM": [("alone_momentum", "momentum")],
    "RULES": [("alone_rule", "`spread > 5bps and regime == 'stressed' for 200ms`")],
    "MODELS": [
        ("regime_garch", "one `garch`"),
        ("regime_hmm", "one `hmm` of two states"),
        ("regime_changes", "one `changes` of 128 lengths"),
    ],
    "MONITORS": [
        ("monitor_quoted", "one `quoted-spread`"),
        ("monitor_effective", "one `effective-spread`"),
        ("monitor_realised", "one `realised-spread`, 1 s"),
        ("monitor_locked", "one `locked`"),
    ],
    "PATTERNS": [
        ("pattern_none_seen", "one that asks for crosses only: orders are remembered"),
        ("pattern_stuffing", "and one `quote-stuffing` of 200"),
        ("pattern_layering", "or one `layering` of 5"),
    ],
    "JOINS": [
        ("join_asof", "one `asof`: trades with quotes, each symbol with itself"),
        ("join_interval", "one `interval`: trades with quotes, 1 ms before to 1 ms after"),
    ],
    "INSTRUMENTS": [
        ("instrument", "one of the two busiest symbols, each change said"),
        ("instruments_64", "64 of eight symbols each, the 512 busiest, each change said"),
    ],
    "FEATURES": [
        ("features_8", "eight: four values, two of a window, a regime, an alert"),
    ],
    "STRATEGIES": [
        ("strategy_queue", "one `queue-imbalance`"),
        ("strategy_vwap", "one `vwap-reversion`"),
        ("strategy_quote", "one `spread-capture`"),
        ("strategy_pair", "one `pairs` of the two busiest symbols"),
    ],
}
KEYS = ["base", "parts", "symbols", "events", "matter", "bytes", "checksum"]


def said(*command):
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def measure():
    """By the row's name: what the bench said of it, and ns per event."""
    cargo = os.environ.get("CARGO", "cargo").split()
    text = said(*cargo, "bench", "--locked", "-q", "-p", "bench", "--bench", "analytics")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    rows = {}
    for line in text.splitlines():
        # Criterion may have begun a line of its own.
        found = re.search(r"\brow (\S+) " + " ".join(rf"{key} (\S+)" for key in KEYS), line)
        if not found:
            continue
        name, *values = found.groups()
        row = dict(zip(KEYS, values))
        sample = json.loads((target / "criterion/analytics" / name / "new/sample.json").read_text())
        took = min(ns / count for ns, count in zip(sample["times"], sample["iters"]))
        rows[name] = row | {"ns": took / int(row["events"])}
    return rows


def machine():
    words = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line]
    changed = said("git", "status", "--porcelain", "--", "*.rs", "*.toml")
    commit = said("git", "rev-parse", "--short", "HEAD").strip() + (" and changes" if changed else "")
    return f"{words[0] if words else 'unknown processor'}, {said('rustc', '-V').strip()}, {commit}"


def table(rows, names, where):
    sample = rows["suite_1000"]
    share = int(sample["matter"]) / int(sample["events"])
    lines = [
        f"Nanoseconds for each of {int(sample['events']):,} events of the simulated session on",
        f"{int(sample['symbols']):,} symbols, of which {share:.0%} change a quote or trade, beyond what the same",
        f"costs without; and bytes for each symbol. `{COMMAND}`: {where}.",
        "",
        "| | ns per event | bytes per symbol |",
        "|---|---|---|",
    ]
    for name, words in names:
        row = rows[name]
        base = rows.get(row["base"], {"ns": 0.0, "bytes": 0})
        parts = int(row["parts"])
        ns = (row["ns"] - base["ns"]) / parts
        # What is not more than the noise of two measurements is not told as a figure.
        text = f"{ns:.2f}" if ns >= 0.1 * 10 ** (1 - len(str(parts))) else "not seen"
        taken = (int(row["bytes"]) - int(base["bytes"])) // parts
        lines.append(f"| {words} | {text} | {taken:,} |")
    return lines


def main():
    rows = measure()
    where = machine()
    for page, names in PAGES.items():
        path = ROOT / "analytics" / f"{page}.md"
        lines = table(rows, names, where)
        print(f"\n{path.relative_to(ROOT)}\n" + "\n".join(lines))
        if "--write" in sys.argv[1:]:
            mark = f"<!-- cost: {COMMAND} -->"
            text = path.read_text()
            assert text.count(mark) == 1 and text.count(END) == 1, f"{path}: want the two marks once"
            before, rest = text.split(mark)
            after = rest.split(END)[1]
            path.write_text(before + mark + "\n" + "\n".join(lines) + "\n" + END + after)


main()
