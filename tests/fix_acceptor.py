"""Tapeline's own sessions trade against QuickFIX, which is not ours, as the acceptor.

    python tests/fix_acceptor.py PATH_OF_TAPELINE [ORDERS [SEED]]

A replay of a sample session sends orders from two shards, each through a session of its own. QuickFIX
fills, fills in parts, rejects, and cuts connections at moments drawn from the seed, with what it had said
or not. In the end both sides must have the same orders, fills and positions. QuickFIX validates every
message by its own dictionary. The tables of the run are read by pyarrow, where that is there, which is
not ours either.
"""

import glob
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading

import pyarrow.parquet
import quickfix

CONFIG = """
[momentum]
lookback = "100ms"
threshold = "0.1bps"
sigmas = 0.0
imbalance = 0.0
cooldown = "10ms"

[rules.lean]
when = "imbalance > 0.1"
side = "buy"
cooldown = "1ms"

[rules.fade]
when = "imbalance < -0.1"
side = "sell"
touch = "near"
cooldown = "1ms"

[risk]
orders_per_second = 200

[orders]
file = false
sender = "T{{shard}}"
target = "SIM"

[orders.fix]
connect = "127.0.0.1:{port}"
retry = "10ms"
away_max = "60s"
"""


def fields(message):
    """The fields of a message without groups."""
    pairs = (field.split("=", 1) for field in message.toString().split("\x01") if field)
    return dict(pairs)


class Venue(quickfix.Application):
    """What a venue keeps: each order by its name, once, however often it came."""

    def __init__(self, seed, cut_each):
        super().__init__()
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.cut_each = cut_each
        self.orders = {}
        self.fills = {}
        self.faults = []
        self.logons = 0
        self.cuts = 0
        self.repeats = 0

    def onCreate(self, session):
        pass

    def onLogon(self, session):
        self.logons += 1

    def onLogout(self, session):
        pass

    def toAdmin(self, message, session):
        if fields(message)["35"] == "3":
            self.faults.append(message.toString())

    def fromAdmin(self, message, session):
        if fields(message)["35"] == "3":
            self.faults.append(message.toString())

    def toApp(self, message, session):
        pass

    def fromApp(self, message, session):
        with self.lock:
            order = fields(message)
            if order["35"] != "D":
                self.faults.append("not an order: " + message.toString())
                return
            name = order["11"]
            cut = self.random.random() * self.cut_each < 1
            before = cut and self.random.random() < 0.5
            if before:
                self.cut(session)
            if name in self.orders:
                # Twice without a flag would be money.
                self.repeats += 1
                if order.get("43") != "Y" and order.get("97") != "Y":
                    self.faults.append("twice, and not flagged: " + message.toString())
            else:
                self.take(name, order, session)
            if cut and not before:
                self.cut(session)

    def cut(self, session):
        self.cuts += 1
        quickfix.Session.lookupSession(session).disconnect()

    def take(self, name, order, session):
        qty, price = int(order["38"]), order["44"]
        state = {"side": order["54"], "symbol": order["55"], "filled": 0, "standing": "new"}
        self.orders[name] = state
        fate = self.random.randrange(10)
        if fate == 0:
            state["standing"] = "rejected"
            self.report(session, name, order, "8", "8", 0, price, state)
            return
        self.report(session, name, order, "0", "0", 0, price, state)
        pieces = [qty] if fate < 6 else [qty // 4, qty - qty // 4] if fate < 9 else [qty // 4]
        for piece in pieces:
            state["filled"] += piece
            done = state["filled"] == qty
            state["standing"] = "filled" if done else "partial"
            self.report(session, name, order, "F", "2" if done else "1", piece, price, state)

    def report(self, session, name, order, kind, status, qty, price, state):
        made = quickfix.Message()
        made.getHeader().setField(quickfix.MsgType("8"))
        execution = f"{name}-{kind}{state['filled']}"
        by_tag = {
            37: "V" + name,
            11: name,
            17: execution,
            150: kind,
            39: status,
            55: order["55"],
            54: order["54"],
            38: order["38"],
            151: "0" if status in "28" else str(int(order["38"]) - state["filled"]),
            14: str(state["filled"]),
            6: price if state["filled"] else "0",
        }
        if kind == "F":
            by_tag |= {32: str(qty), 31: price}
            self.fills[execution] = (name, qty, price)
        for tag, text in by_tag.items():
            made.setField(quickfix.StringField(tag, text))
        quickfix.Session.sendToTarget(made, session)


def main():
    program = sys.argv[1]
    want = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    found = glob.glob(os.path.join(sys.prefix, "**", "FIX44.xml"), recursive=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:

        def place(name):
            return os.path.join(folder, name)

        with open(place("settings"), "w") as file:
            file.write(
                "[DEFAULT]\nConnectionType=acceptor\nStartTime=00:00:00\nEndTime=00:00:00\n"
                f"SocketAcceptPort={port}\nSocketReuseAddress=Y\n"
                + (f"DataDictionary={found[0]}\n" if found else "UseDataDictionary=N\n")
                + "".join(
                    f"[SESSION]\nBeginString=FIX.4.4\nSenderCompID=SIM\nTargetCompID=T{shard}\n"
                    for shard in range(2)
                )
            )
        with open(place("config.toml"), "w") as file:
            file.write(CONFIG.format(port=port))
        subprocess.run(
            [program, "-q", "sample", "itch", "--symbols", "16", "--rate", "4000", "--seed", "7"]
            + ["--seconds", str(max(2, want // 200)), "-o", place("day.pcap")],
            check=True,
        )
        venue = Venue(seed, want / 25)
        store = quickfix.MemoryStoreFactory()
        acceptor = quickfix.SocketAcceptor(venue, store, quickfix.SessionSettings(place("settings")))
        acceptor.start()
        try:
            run = [program, "-q", "replay", place("day.pcap"), "--shards", "2"]
            run += ["-c", place("config.toml"), "-o", place("run")]
            ended = subprocess.run(run, timeout=300, capture_output=True, text=True)
        finally:
            acceptor.stop()
        if ended.returncode != 0:
            sys.exit(f"the run ended with {ended.returncode}: {ended.stderr}")
        check(venue, os.path.join(place("run"), "tables"), want)
    dictionary = "validated by QuickFIX's dictionary" if found else "not validated"
    print(
        f"QuickFIX as acceptor: {len(venue.orders)} orders, {len(venue.fills)} fills, {venue.cuts} cuts, "
        f"{venue.logons} logons, {venue.repeats} repeats, {dictionary}: orders, fills and positions are equal"
    )


def check(venue, tables, want):
    def rows(table, *columns):
        path = os.path.join(tables, table + ".parquet")
        return pyarrow.parquet.read_table(path, columns=list(columns)).to_pylist()

    if venue.faults:
        sys.exit(f"{len(venue.faults)} faults, the first: {venue.faults[0]}")
    if len(venue.orders) < want:
        sys.exit(f"{len(venue.orders)} orders, want {want} at least")
    if venue.cuts < 5:
        sys.exit(f"{venue.cuts} cuts, want 5 at least")
    states = rows("order_states", "cl_ord_id", "standing", "filled")
    ours = {row["cl_ord_id"]: (row["standing"], row["filled"]) for row in states}
    theirs = {name: (order["standing"], order["filled"]) for name, order in venue.orders.items()}
    for name in ours.keys() | theirs.keys():
        if ours.get(name) != theirs.get(name):
            sys.exit(f"order {name}: {theirs.get(name)} there, {ours.get(name)} here")
    decided = rows("orders", "cl_ord_id", "status")
    sent = {row["cl_ord_id"] for row in decided if row["status"] == "sent"}
    if sent != theirs.keys():
        sys.exit(f"{len(sent)} orders were sent, {len(theirs)} are there")
    fills = rows("executions", "exec_id", "cl_ord_id", "qty")
    ours = {row["exec_id"]: (row["cl_ord_id"], row["qty"]) for row in fills}
    theirs = {name: (order, qty) for name, (order, qty, _) in venue.fills.items()}
    if ours != theirs:
        sys.exit(f"{len(theirs)} fills there, {len(ours)} here, or not the same")
    positions = {}
    for order in venue.orders.values():
        sign = 1 if order["side"] == "1" else -1
        positions[order["symbol"]] = positions.get(order["symbol"], 0) + sign * order["filled"]
    for row in rows("positions", "symbol", "net"):
        if positions.pop(row["symbol"], 0) != row["net"]:
            sys.exit(f"position in {row['symbol']}: not the same")
    if any(positions.values()):
        sys.exit(f"positions that only QuickFIX has: {positions}")


if __name__ == "__main__":
    main()
