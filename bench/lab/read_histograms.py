"""Reads a result's histograms with HdrHistogram's own Python reader and compares them with its JSON.

usage: read_histograms.py RESULT
"""

import json
import sys
from pathlib import Path

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

folder = Path(sys.argv[1])
report = json.loads((folder / "report.json").read_text())
found = {}
# Bounds as wide as the writer's: from 1 ns to a minute, three digits.
reader = HistogramLogReader(str(folder / "latency.hlog"), HdrHistogram(1, 60_000_000_000, 3))
while (interval := reader.get_next_interval_histogram()) is not None:
    tag = interval.get_tag()
    if tag not in found:
        found[tag] = HdrHistogram(1, 60_000_000_000, 3)
    found[tag].add(interval)

for stage in report["stages"]:
    histogram = found[stage["stage"]]
    assert histogram.get_total_count() == stage["count"], stage
    for percentile, said in zip([50, 90, 99, 99.9, 99.99], stage["quantiles_ns"]):
        if said is not None:
            # Which sample a percentile is, each rounds in its own way: it may be the next one.
            sample = 150 / stage["count"]
            least = histogram.get_value_at_percentile(max(percentile - sample, 0))
            most = histogram.get_value_at_percentile(min(percentile + sample, 100))
            assert least * 0.998 - 2 <= said <= most * 1.002 + 2, (
                stage["stage"], percentile, least, said, most)
    # The percentile text: four columns and comments, as the plotters read it.
    lines = (folder / f"{stage['stage']}.hgrm").read_text().splitlines()
    rows = [line.split() for line in lines if line and line[0] not in "#" and "Value" not in line]
    assert all(len(row) in (3, 4) for row in rows), stage["stage"]
    assert int(rows[-1][2]) == stage["count"], stage["stage"]
print(f"{len(report['stages'])} stages read by HdrHistogram's Python reader as they were said")
