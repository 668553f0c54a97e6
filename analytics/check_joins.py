#!/usr/bin/env python3
"""Joins against Polars, which knows nothing of ours, on the Parquet export of a session.

    analytics/check_joins.py target/release/tapeline [CAPTURE]

Exports the capture (`tapeline convert`), or a sample session where there is none; makes trades of the export's rows and, with books
of price levels in Python, quotes; joins these as of each trade, and trades of several symbols within a time of each other; replays the session with the
same joins declared, and compares every row of `tables/joins.parquet`. Says that it skips where Polars is not there.
"""

import pathlib
import subprocess
import sys
import tempfile

try:
    import polars as pl
except ImportError:
    print("skipped: Polars is not installed")
    sys.exit(0)

SAMPLE = "sample itch --symbols 4 --seconds 40 --rate 2000 --seed 9 -q -o"
PRINTABLE = 1
MILLI = 1_000_000
TOLERANCE, BEFORE, AFTER = 20 * MILLI, 5 * MILLI, 2 * MILLI
CONFIG = """
[joins.asof]
kind = "asof"
symbols = {symbols}
tolerance = "20ms"
keep = 65536
"""
NEAR = """
[joins.near]
kind = "interval"
symbols = {others}
with = "{first}"
right = "trades"
before = "5ms"
after = "2ms"
rows_max = 128
keep = 65536
"""


def streams_of(path):
    """Trades and quotes as rows of (symbol, time in ns, seq, price or bid and ask in 1e-9, sizes)."""
    rows = pl.read_parquet(path).with_columns(pl.col("ts_event").cast(pl.Int64))
    orders, levels, quotes_now = {}, {}, {}
    trades, quotes = [], []

    def change(symbol, side, price, size):
        side_of = levels.setdefault(symbol, {"B": {}, "A": {}})[side]
        side_of[price] = side_of.get(price, 0) + size
        if side_of[price] == 0:
            del side_of[price]

    def take(number, size):
        symbol, side, price, left = orders.pop(number)
        size = min(size, left)
        if left > size:
            orders[number] = (symbol, side, price, left - size)
        change(symbol, side, price, -size)
        return side, price, size

    names = ["kind", "symbol", "ts_event", "side", "price_e9", "qty", "order_id", "order_id_new", "flags", "seq"]
    for kind, symbol, ts, side, price, size, order, other, flags, seq in rows.select(names).iter_rows():
        if kind == "add":
            orders[order] = (symbol, side, price, size)
            change(symbol, side, price, size)
        elif kind in ("execute", "execute_at", "cancel", "delete", "replace"):
            if order not in orders:
                continue
            everything = orders[order][3] if kind in ("delete", "replace") else size
            side, own, taken = take(order, everything)
            if kind == "replace":
                orders[other] = (symbol, side, price, size)
                change(symbol, side, price, size)
            if kind == "execute" or (kind == "execute_at" and flags & PRINTABLE):
                trades.append((symbol, ts, seq, own if kind == "execute" else price, taken))
        elif kind in ("trade", "cross") and size > 0:
            trades.append((symbol, ts, seq, price, size))
        book = levels.get(symbol, {"B": {}, "A": {}})
        bid, ask = max(book["B"], default=None), min(book["A"], default=None)
        quote = (bid, ask, book["B"].get(bid, 0), book["A"].get(ask, 0))
        if quote != quotes_now.get(symbol, (None, None, 0, 0)):
            quotes_now[symbol] = quote
            quotes.append((symbol, ts, seq, *quote))
    key = ["symbol", "ts", "seq"]
    return (
        pl.DataFrame(trades, schema=dict.fromkeys(key[:1], pl.String) | dict.fromkeys([*key[1:], "price", "qty"], pl.Int64), orient="row"),
        pl.DataFrame(quotes, schema=dict.fromkeys(key[:1], pl.String) | dict.fromkeys([*key[1:], "bid", "ask", "bid_qty", "ask_qty"], pl.Int64), orient="row"),
    )


def e9(name):
    return (pl.col(name) * 1e9).round().cast(pl.Int64)


def compare(what, want, got):
    if not want.equals(got):
        both = want.with_row_index().join(got.with_row_index(), on="index", how="full", suffix="_got")
        names = want.columns
        differ = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_got")) for name in names)
        print(both.filter(differ).head(5))
        sys.exit(f"{what}: {want.height} rows by Polars, {got.height} of ours, and they differ")
    print(f"{what}: {want.height} rows are those of Polars")


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if len(sys.argv) > 2:
            capture = pathlib.Path(sys.argv[2])
        else:
            capture = folder / "session.pcap.zst"
            subprocess.run([program, *SAMPLE.split(), capture], check=True)
        exported = folder / "events.parquet"
        subprocess.run([program, "convert", capture, "-o", exported, "-q"], check=True, stdout=subprocess.DEVNULL)
        trades, quotes = streams_of(exported)
        symbols = sorted(trades["symbol"].unique().to_list())
        first, others = symbols[0], symbols[1:]
        text = CONFIG.format(symbols=str(symbols).replace("'", '"'))
        if others:
            text += NEAR.format(first=first, others=str(others).replace("'", '"'))
        (folder / "joins.toml").write_text(text)
        run = folder / "run"
        subprocess.run([program, "replay", capture, "-c", folder / "joins.toml", "-o", run, "-q"], check=True, stdout=subprocess.DEVNULL)
        rows = pl.read_parquet(run / "tables/joins.parquet")
        rows = rows.with_columns(pl.col("ts_event", "right_ts_event").cast(pl.Int64), pl.col("symbol", "name", "right_symbol").cast(pl.String))

        # Numbers of events are unique and rise with time here, so "before" is one of numbers alone.
        assert trades["ts"].is_sorted() and trades["seq"].is_sorted() and quotes["seq"].is_sorted()
        want = trades.join_asof(
            quotes.with_columns(right_seq="seq"), on="seq", by="symbol", strategy="backward", allow_exact_matches=False, check_sortedness=False
        )
        near = pl.col("ts") - pl.col("ts_right") <= TOLERANCE
        right = ["right_seq", "bid", "ask", "bid_qty", "ask_qty"]
        want = want.with_columns(pl.when(near).then(pl.col(name)).otherwise(None).alias(name) for name in right)
        want = want.select("symbol", "ts", "seq", "price", "qty", *right).sort("seq")
        got = rows.filter(pl.col("name") == "asof").select(
            "symbol", ts="ts_event", seq="left_seq", price=e9("left_price"), qty="left_qty", right_seq="right_seq",
            bid=e9("right_bid"), ask=e9("right_ask"), bid_qty="right_bid_qty", ask_qty="right_ask_qty",
        ).sort("seq")
        assert 0 < want["right_seq"].null_count() < want.height
        compare("asof", want, got)

        if not others:
            return
        want = trades.filter(pl.col("symbol") != first).join_where(
            trades.filter(pl.col("symbol") == first),
            pl.col("ts_right") >= pl.col("ts") - BEFORE,
            pl.col("ts_right") <= pl.col("ts") + AFTER,
        ).select("symbol", "seq", "price", "seq_right", "price_right", "qty_right").sort("seq", "seq_right")
        got = rows.filter(pl.col("name") == "near").select(
            "symbol", seq="left_seq", price=e9("left_price"), seq_right="right_seq",
            price_right=e9("right_price"), qty_right="right_qty",
        ).sort("seq", "seq_right")
        assert want.height > 0
        compare("interval", want, got)


main()
