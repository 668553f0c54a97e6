"""Reads a ring to its end: each record must be what the test's writer makes of its number."""

import os
import sys
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include"))
sys.dont_write_bytecode = True
from tapeline_ring import ENDED, Lost, Ring  # noqa: E402

ring = Ring(sys.argv[1])
print("ready", flush=True)
count = lost = last = 0
while (found := ring.next()) is not ENDED:
    if found is None:
        continue
    if isinstance(found, Lost):
        lost += found.count
        continue
    n = found.seq
    want = (f"260105-{n:012d}-0003-00-0000", "D", "S", "ABC", n, Decimal(n * 3).scaleb(-9), n, None)
    have = (
        found.order_id, found.kind, found.side, found.symbol, found.qty, found.price, found.msg_seq,
        found.filled,
    )
    if n <= last or want != have:
        sys.exit(f"record {n} behind {last}: {found}")
    last = n
    count += 1
print(f"{count} read, {lost} lost, last {last}")
