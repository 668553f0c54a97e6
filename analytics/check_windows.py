#!/usr/bin/env python3
"""Declared windows against Polars, which knows nothing of ours, on the Parquet export of a capture.

    analytics/check_windows.py target/release/tapeline [CAPTURE]

Exports the capture (`tapeline convert`), makes trades of the export's rows, computes windows of each kind
from these, replays the capture with the same windows declared, and compares every row of
`tables/windows.parquet`. Sums and counts must be equal, means to a part in 1e12, quantiles of sizes within
the histogram's 6.25 %. Of LOBSTER's messages the trades are also read as they stand, and must be those of
the export. Without a capture a sample session is made. Says that it skips where Polars is not there.
"""

import math
import pathlib
import subprocess
import sys
import tempfile

try:
    import polars as pl
except ImportError:
    print("skipped: Polars is not installed")
    sys.exit(0)

CONFIG = """
[windows.tumbling]
size = "10s"
aggregates = ["buy_volume", "realized_variance", "size_quantiles", "twap"]
[windows.sliding]
kind = "sliding"
size = "1m"
slide = "5s"
aggregates = ["buy_volume", "realized_variance", "size_quantiles", "twap"]
[windows.cumulative]
kind = "cumulative"
period = "24h"
slide = "1m"
aggregates = ["buy_volume", "realized_variance", "size_quantiles", "twap"]
[windows.session]
kind = "session"
gap = "2s"
aggregates = ["buy_volume", "realized_variance", "size_quantiles"]
[windows.count]
kind = "count"
trades = 25
aggregates = ["buy_volume", "realized_variance", "size_quantiles"]
[windows.volume]
kind = "volume"
qty = 3000
aggregates = ["buy_volume", "realized_variance", "size_quantiles"]
"""
SAMPLE = "sample itch --symbols 5 --seconds 90 --rate 2000 --seed 9 -q -o"
SECOND = 1_000_000_000
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
# Symbols with more trades than others come first; the rest are left out.
SYMBOLS_MAX = 8
PRINTABLE = 1
COLUMNS = ["symbol", "ts", "size", "price", "buy", "sell"]


def trades_of(path):
    """Symbol, time in ns, size, price in 1e-9, what a buyer and what a seller took; and the last row's time.

    Orders say their price and side when they come; an execution says neither."""
    rows = pl.read_parquet(path).with_columns(pl.col("ts_event").cast(pl.Int64))
    orders, trades = {}, []

    def take(number, quantity):
        side, price, left = orders.pop(number)
        if left > quantity:
            orders[number] = (side, price, left - quantity)
        return side, price, min(left, quantity)

    names = ["kind", "symbol", "ts_event", "side", "price_e9", "qty", "order_id", "order_id_new", "flags"]
    for kind, symbol, ts, side, price, size, order, other, flags in rows.select(names).iter_rows():
        if kind == "add":
            orders.setdefault(order, (side, price, size))
        elif kind in ("execute", "execute_at", "cancel", "delete", "replace"):
            if order not in orders:
                continue
            everything = orders[order][2] if kind in ("delete", "replace") else size
            side, own, size_taken = take(order, everything)
            if kind == "replace":
                orders.setdefault(other, (side, price, size))
            if kind == "execute" or (kind == "execute_at" and flags & PRINTABLE):
                at = own if kind == "execute" else price
                bought = size_taken if side == "A" else 0
                trades.append((symbol, ts, size_taken, at, bought, size_taken - bought))
        elif kind in ("trade", "cross") and size > 0:
            trades.append((symbol, ts, size, price, 0, 0))
    frame = pl.DataFrame(trades, schema=COLUMNS, orient="row")
    return frame, rows["ts_event"].max()


def trades_of_lobster(path):
    """The same of LOBSTER's own rows, with times since midnight."""
    columns = ["time", "type", "order", "size", "price", "direction"]
    text = {"time": pl.String}
    rows = pl.read_csv(path, has_header=False, new_columns=columns, schema_overrides=text)
    parts = pl.col("time").str.split_exact(".", 1).struct
    fraction = parts.field("field_1").fill_null("").str.pad_end(9, "0").cast(pl.Int64)
    rows = rows.with_columns(ts=parts.field("field_0").cast(pl.Int64) * SECOND + fraction)
    # Orders from before the first row are not known, nor whose they were.
    known = rows.filter(pl.col("type") == 1)["order"].unique().implode()
    rows = rows.filter(pl.col("type").is_in([4, 5]))
    # A shown order that was executed is the other side of who took; a hidden one's is not told.
    shown = (pl.col("type") == 4) & pl.col("order").is_in(known)
    return rows.select(
        "ts",
        "size",
        price=pl.col("price") * 100_000,
        buy=pl.when(shown & (pl.col("direction") == -1)).then("size").otherwise(0),
        sell=pl.when(shown & (pl.col("direction") == 1)).then("size").otherwise(0),
    )


def windows_of(trades, end):
    """For each kind: start, end, and the rows that are in it."""
    ts = trades["ts"].to_list()
    for kind, size, slide in [("tumbling", 10, 10), ("sliding", 60, 5)]:
        size, slide = size * SECOND, slide * SECOND
        for start in range(ts[0] // slide * slide - size, ts[-1] + 1, slide):
            rows = trades.filter(pl.col("ts").is_between(start, start + size, closed="left"))
            yield kind, start, start + size, rows
    for stop in range(ts[0] // MINUTE * MINUTE + MINUTE, ts[-1] + MINUTE + 1, MINUTE):
        if trades.filter(pl.col("ts").is_between(stop - MINUTE, stop, closed="left")).height:
            yield "cumulative", 0, stop, trades.filter(pl.col("ts") < stop)
    gaps = (pl.col("ts") - pl.col("ts").shift(1) >= 2 * SECOND).fill_null(False)
    for _, rows in trades.group_by(gaps.cum_sum(), maintain_order=True):
        yield "session", rows["ts"][0], rows["ts"][-1] + 2 * SECOND, rows
    for first in range(0, trades.height, 25):
        rows = trades[first : first + 25]
        yield "count", rows["ts"][0], rows["ts"][-1], rows
    first = volume = 0
    for index, size in enumerate(trades["size"]):
        volume += size
        if volume >= 3000 or index + 1 == trades.height:
            rows = trades[first : index + 1]
            yield "volume", rows["ts"][0], rows["ts"][-1], rows
            first, volume = index + 1, 0


def twap(trades, start, stop, end):
    """The last price weighted with time, from the first trade of all to the end of the input."""
    before = trades.filter(pl.col("ts") < stop)
    until = before["ts"].shift(-1).fill_null(min(stop, end)).clip(upper_bound=stop)
    stood = zip(before["ts"].to_list(), until.to_list(), before["price"].to_list())
    stood = [(min(u, end) - max(t, start), price) for t, u, price in stood]
    stood = [(ns, price) for ns, price in stood if ns > 0]
    total = sum(ns for ns, _ in stood)
    return sum(ns * price for ns, price in stood) / total / 1e9 if total else None


def check(trades, said, end, counts):
    """All windows of one symbol; times are since midnight."""
    rows = {}
    for row in said.iter_rows(named=True):
        key = (row["name"], row["window_start"], row["window_end"])
        rows.setdefault(key, []).append(row)
    price = pl.col("price")
    trades = trades.with_columns(change=((price - price.shift(1)) / price.shift(1) * 1e9).round())
    for kind, start, stop, inside in windows_of(trades, end):
        if inside.height == 0:
            # Said only where the quote changed, with a mean of the last price before.
            continue
        # Two bars can be of the same moment.
        row = rows[(kind, start, stop)].pop(0)
        changes = [int(change) for change in inside["change"] if change is not None]
        notional = sum(p * s for p, s in zip(inside["price"], inside["size"]))
        exact = {
            "open": inside["price"][0] / 1e9,
            "high": inside["price"].max() / 1e9,
            "low": inside["price"].min() / 1e9,
            "close": inside["price"][-1] / 1e9,
            "volume": inside["size"].sum(),
            "trade_count": inside.height,
            "buy_volume": inside["buy"].sum(),
            "sell_volume": inside["sell"].sum(),
            "return_count": len(changes),
            "kind": kind,
            "revision": 0,
            "is_final": True,
            "policy": "as-printed",
        }
        where = f"{row['symbol']} {kind} {start} {stop}"
        for name, want in exact.items():
            assert row[name] == want, f"{where}: {name} {row[name]}, want {want}"
        units = row["notional_units"] * 1_000_000_000 + row["notional_nanos"]
        assert units == notional, f"{where}: notional"
        means = {
            "vwap": notional / exact["volume"] / 1e9,
            "realized_variance": sum(change * change for change in changes) / 1e18,
        }
        # How far time goes behind the last trade, the program's ticks decide.
        if kind in ("tumbling", "sliding", "cumulative") and stop <= end:
            means["twap"] = twap(trades, start, stop, end)
        for name, want in means.items():
            if name == "realized_variance" and not changes:
                continue
            near = math.isclose(row[name], want, rel_tol=1e-12, abs_tol=1e-9 if name == "vwap" else 0)
            assert near, f"{where}: {name} {row[name]}, want {want}"
        sizes = inside["size"].sort()
        for percent in (50, 95, 99):
            want = sizes[math.ceil(sizes.len() * percent / 100) - 1]
            off = abs(row[f"size_p{percent}"] - want)
            assert 16 * off <= want, f"{where}: p{percent}, want {want}"
        counts[kind] = counts.get(kind, 0) + 1
    left = [key for key, some in rows.items() if some and some[0]["trade_count"] > 0]
    assert not left, f"said, and not there: {left[:3]}"


def main():
    program, *captures = sys.argv[1:]
    if captures and not pathlib.Path(captures[0]).exists():
        print(f"skipped: no {captures[0]}")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path = pathlib.Path(captures[0]) if captures else folder / "sample.pcap.zst"
        if not captures:
            subprocess.run([program, *SAMPLE.split(), path], check=True)
        export, config, run = folder / "events.parquet", folder / "windows.toml", folder / "run"
        config.write_text(CONFIG)
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([program, "convert", path, "-o", export, "-q"], **quiet)
        subprocess.run([program, "replay", path, "-c", config, "-o", run, "-q"], **quiet)
        trades, end = trades_of(export)
        # What comes late stands from when it came on, which these sums do not know.
        assert trades["ts"].is_sorted(), f"{path}: trades go back in time"
        said = pl.read_parquet(run / "tables" / "windows.parquet")
    times = ["window_start", "window_end"]
    said = said.with_columns(pl.col(*times).cast(pl.Int64))
    # The whole day's window begins there.
    midnight = int(said.filter(pl.col("name") == "cumulative")["window_start"].min())
    said = said.with_columns(pl.col(*times) - midnight)
    trades, end = trades.with_columns(pl.col("ts") - midnight), end - midnight
    if "message" in path.name and ".csv" in path.name:
        assert trades.drop("symbol").equals(trades_of_lobster(path)), "the export has other trades"
    counts = {}
    most = trades.group_by("symbol").len().sort("len", "symbol", descending=True)
    symbols = most["symbol"].to_list()[:SYMBOLS_MAX]
    assert symbols, f"{path}: no trades"
    for symbol in symbols:
        of = pl.col("symbol") == symbol
        check(trades.filter(of), said.filter(of), end, counts)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{path.name}: equal on {len(symbols)} symbols: {kinds}")


main()
