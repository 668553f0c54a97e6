#!/usr/bin/env python3
"""A run's declared windows as a picture: prices, spread and order flow of one symbol.

    analytics/example/plot.py RUN PICTURE [SYMBOL]      the most traded symbol without one

RUN is a run directory made with `windows.toml`; PICTURE ends in .svg or .png.
"""

import datetime
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import polars as pl

NAME = "vwap_10s"


def main():
    run, picture, *symbol = sys.argv[1:]
    table = pathlib.Path(run) / "tables" / "windows.parquet"
    rows = pl.read_parquet(table).filter((pl.col("name") == NAME) & pl.col("is_final"))
    if not rows.height:
        sys.exit(f"{table}: no final window {NAME}; was the run made with windows.toml?")
    most = rows.group_by("symbol").agg(pl.col("volume").sum()).sort("volume", "symbol")["symbol"][-1]
    symbol = symbol[0] if symbol else most
    rows = rows.filter(pl.col("symbol") == symbol).sort("window_end")
    if not rows.height:
        sys.exit(f"{table}: nothing of {symbol}")
    first = rows["window_end"][0]
    seconds = [(end - first) / datetime.timedelta(seconds=1) for end in rows["window_end"]]
    figure, (prices, spread, flow) = plt.subplots(3, sharex=True, figsize=(9, 7), height_ratios=[3, 1, 1])
    low, high = (rows[name].cast(pl.Float64).to_list() for name in ("low", "high"))
    nan = float("nan")
    low, high = ([nan if x is None else x for x in some] for some in (low, high))
    prices.fill_between(seconds, low, high, alpha=0.2, linewidth=0, label="low to high")
    for name, style in [("vwap", "-"), ("twap", "--")]:
        prices.plot(seconds, rows[name], style, label=name)
    prices.set_ylabel("price")
    prices.legend(loc="best")
    prices.set_title(f"{symbol}: windows of 10 s, one each second, from {first:%Y-%m-%d %H:%M:%S} UTC")
    spread.plot(seconds, rows["spread"])
    spread.set_ylabel("spread")
    spread.set_ylim(bottom=0)
    flow.bar(seconds, rows["ofi"], width=0.8)
    flow.axhline(0, linewidth=0.8, color="black")
    flow.set_ylabel("order flow")
    flow.set_xlabel("seconds")
    figure.align_ylabels()
    figure.tight_layout()
    figure.savefig(picture)
    print(f"{picture}: {rows.height} windows of {symbol}")


main()
