"""Orders, and what is said of them, from a ring in shared memory: layout 1.

    ring = Ring("RUN/orders/shard-0.ring")
    while (found := ring.next()) is not ENDED:
        if found is None:
            time.sleep(0.001)
        elif isinstance(found, Lost):
            print(found.count, "records were overwritten before they were read")
        else:
            print(found.seq, found.order_id, found.symbol, found.price)

The writer never waits for a reader. Needs nothing but Python 3.8.
"""

import mmap
import os
import struct
from decimal import Decimal
from typing import NamedTuple, Optional

LAYOUT = 1
NOT_SAID = -(1 << 63)
ENDED = object()

_HEADER = struct.Struct("=8s4Q")
_WORD = struct.Struct("=Q")
_WORDS = struct.Struct("=16Q")
_RECORD = struct.Struct("=QQqqccccBc2xqqqqq8s32sQ")
_MASK = (1 << 64) - 1
assert _RECORD.size == _WORDS.size == 128


class Lost(NamedTuple):
    """The writer was faster: so many records are gone."""

    count: int


class Record(NamedTuple):
    """What is None was not said. Prices are exact, quantities in the symbol's units."""

    seq: int
    kind: str  # "D" order, "F" cancel, "8" report, "9" cancel reject
    side: Optional[str]  # "B" or "S"
    order_id: str
    symbol: str
    qty: Optional[int]
    price: Optional[Decimal]
    sent_ns: Optional[int]  # since 1970, UTC
    event_ns: Optional[int]
    time_in_force: Optional[str]  # FIX 59
    exec_type: Optional[str]  # FIX 150 and 39
    status: Optional[str]
    last_qty: Optional[int]
    last_price: Optional[Decimal]
    filled: Optional[int]
    may_be_repeated: bool
    msg_seq: int


def _check(words):
    value = 0xCBF29CE484222325
    for index, word in enumerate(words):
        if index != 1:
            value = (value ^ word) * 0x100000001B3 & _MASK
    return value


def _said(number):
    return None if number == NOT_SAID else number


def _price(number):
    return None if number == NOT_SAID else Decimal(number).scaleb(-9)


def _letter(byte):
    return None if byte == b"\0" else byte.decode("latin-1")


class Ring:
    """A reader, from the oldest record that is there."""

    def __init__(self, path):
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 4096:
                raise ValueError(f"{path}: {size} bytes, want a ring of orders")
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        magic, layout, record, room, first = _HEADER.unpack_from(self._map, 0)
        if (magic, layout, record, first) != (b"TAPERING", LAYOUT, 128, 4096):
            raise ValueError(f"{path}: not a ring of layout {LAYOUT}")
        if room == 0 or room & (room - 1) or 4096 + room * 128 > size:
            raise ValueError(f"{path}: room for {room} records in {size} bytes")
        self._room = room
        self._next = max(self._word(8) - room, 0) + 1

    def _word(self, index):
        return _WORD.unpack_from(self._map, index * 8)[0]

    def next(self):
        """A Record, Lost, None where there is nothing yet, or ENDED."""
        head = self._word(8)
        if self._next > head:
            if self._word(16) != 2:
                return None
            head = self._word(8)
            if self._next > head:
                return ENDED
        if head - self._next < self._room:
            place = 4096 + (self._next - 1 & self._room - 1) * 128
            before = _WORD.unpack_from(self._map, place)[0]
            copy = self._map[place : place + 128]
            after = _WORD.unpack_from(self._map, place)[0]
            words = _WORDS.unpack(copy)
            if before == after == words[0] == self._next and words[1] == _check(words):
                self._next += 1
                return self._read(copy)
        head = self._word(8)
        oldest = max(head + 2 - self._room, self._next + 1)
        lost = Lost(oldest - self._next)
        self._next = oldest
        return lost

    @staticmethod
    def _read(copy):
        (
            seq, _, sent, event, kind, side, exec_type, status, flags, tif, price, qty,
            last_price, last_qty, filled, symbol, order_id, msg_seq,
        ) = _RECORD.unpack(copy)
        return Record(
            seq=seq,
            kind=kind.decode("latin-1"),
            side=_letter(side),
            order_id=order_id.rstrip(b"\0").decode("latin-1"),
            symbol=symbol.rstrip(b" ").decode("latin-1"),
            qty=_said(qty),
            price=_price(price),
            sent_ns=_said(sent),
            event_ns=_said(event),
            time_in_force=_letter(tif),
            exec_type=_letter(exec_type),
            status=_letter(status),
            last_qty=_said(last_qty),
            last_price=_price(last_price),
            filled=_said(filled),
            may_be_repeated=bool(flags & 1),
            msg_seq=msg_seq,
        )
