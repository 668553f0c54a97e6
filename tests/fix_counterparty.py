"""QuickFIX, which is not ours, trades against `tapeline fix sim`.

    python tests/fix_counterparty.py PATH_OF_TAPELINE [ORDERS]

It logs on, sends orders, cancels and replaces, is cut off and misses reports every so often, and in
the end both sides must have the same orders, fills and positions. QuickFIX validates every message
by its own dictionary. The simulator's store is in memory, QuickFIX's too.
"""

import csv
import glob
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal

import quickfix

SCRIPT = """
every 997: new, lose, partial 30, cut, fill
every 501: new, lose, fill
symbol HALF: new, partial 50
symbol BAD: reject
any: new, fill
"""
TRADES = {"F"}


def fields(message):
    """The fields of a message without groups."""
    pairs = (field.split("=", 1) for field in message.toString().split("\x01") if field)
    return dict(pairs)


class Desk(quickfix.Application):
    """What an order management system keeps: the newest state of each order."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.session = None
        self.logons = 0
        self.rejects = []
        self.refused = 0
        self.orders = {}
        self.executions = set()
        self.positions = {}

    def onCreate(self, session):
        self.session = session

    def onLogon(self, session):
        self.logons += 1

    def onLogout(self, session):
        pass

    def toAdmin(self, message, session):
        if fields(message)["35"] == "3":
            self.rejects.append(message.toString())

    def fromAdmin(self, message, session):
        if fields(message)["35"] == "3":
            self.rejects.append(message.toString())

    def toApp(self, message, session):
        pass

    def fromApp(self, message, session):
        report = fields(message)
        with self.lock:
            if report["35"] == "9":
                self.refused += 1
                return
            if report["35"] != "8":
                self.rejects.append(message.toString())
                return
            if "41" in report:
                self.orders.pop(report["41"], None)
            self.orders[report["11"]] = (
                report["39"],
                int(report["14"]),
                Decimal(report["6"]),
            )
            if report["150"] in TRADES:
                if report["17"] in self.executions:
                    self.rejects.append("twice: " + message.toString())
                self.executions.add(report["17"])
                sign = 1 if report["54"] == "1" else -1
                symbol = report["55"]
                self.positions[symbol] = (
                    self.positions.get(symbol, 0) + sign * int(report["32"])
                )


def message(kind, session, **by_tag):
    made = quickfix.Message()
    made.getHeader().setField(quickfix.MsgType(kind))
    for tag, text in by_tag.items():
        made.setField(quickfix.StringField(int(tag[1:]), text))
    made.setField(quickfix.TransactTime())
    quickfix.Session.sendToTarget(made, session)


def order(session, name, symbol, side, qty):
    message("D", session, t11=name, t55=symbol, t54=side, t38=str(qty), t40="2", t44="10.25")


def trade(desk, count):
    """Sends all, and returns the names that the orders must have in the end."""
    names = set()
    for number in range(1, count + 1):
        name, side = f"o{number}", "12"[number % 2]
        symbol = {3: "HALF", 6: "HALF", 8: "BAD"}.get(number % 10, "X")
        order(desk.session, name, symbol, side, 100)
        if number % 10 in (3, 6):
            changed = f"c{number}"
            common = {"t11": changed, "t41": name, "t55": symbol, "t54": side}
            if number % 10 == 3:
                message("F", desk.session, t38="100", **common)
            else:
                message("G", desk.session, t38="80", t40="2", t44="11", **common)
            # An order that the script fills at once can no longer be changed.
            if number % 997 and number % 501:
                name = changed
        names.add(name)
    return names


def wait(what, seconds, is_there):
    end = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = glob.glob(os.path.join(sys.prefix, "**", "FIX44.xml"), recursive=True)
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "script")
        rows = os.path.join(folder, "orders.csv")
        settings = os.path.join(folder, "settings")
        with open(script, "w") as file:
            file.write(SCRIPT)
        with open(settings, "w") as file:
            file.write(
                "[DEFAULT]\nConnectionType=initiator\nReconnectInterval=1\nHeartBtInt=5\n"
                "StartTime=00:00:00\nEndTime=00:00:00\n"
                + (f"DataDictionary={found[0]}\n" if found else "UseDataDictionary=N\n")
                + "[SESSION]\nBeginString=FIX.4.4\nSenderCompID=DESK\nTargetCompID=SIM\n"
                f"SocketConnectHost=127.0.0.1\nSocketConnectPort={port}\n"
            )
        sim = subprocess.Popen(
            [program, "--quiet", "fix", "sim", "--listen", f"127.0.0.1:{port}"]
            + ["--target", "DESK", "--script", script, "--orders", rows],
            stdout=subprocess.PIPE,
            text=True,
        )
        desk = Desk()
        factory = quickfix.MemoryStoreFactory()
        initiator = quickfix.SocketInitiator(desk, factory, quickfix.SessionSettings(settings))
        initiator.start()
        try:
            wait("a logon", 20, lambda: desk.logons > 0)
            names = trade(desk, count)

            def is_done():
                with desk.lock:
                    done = sum(1 for name in names if name in desk.orders)
                    is_open = sum(1 for name in names if is_unsettled(desk, name))
                return done == len(names) and is_open == 0

            wait("all reports", 240, is_done)
        finally:
            initiator.stop()
            sim.send_signal(signal.SIGINT)
        print(sim.communicate(timeout=20)[0], end="")
        with open(rows, newline="") as file:
            theirs = list(csv.DictReader(file))
    check(desk, names, theirs, count)
    dictionary = "validated by QuickFIX's dictionary" if found else "not validated"
    print(
        f"QuickFIX as initiator: {len(theirs)} orders, {len(desk.executions)} fills, "
        f"{desk.logons} logons, {dictionary}: orders and positions are equal"
    )


def is_unsettled(desk, name):
    """Whether more is to come for an order: only those that are half filled stay open."""
    status, filled, _ = desk.orders[name] if name in desk.orders else ("A", 0, 0)
    return not (status in "248" or (status == "1" and filled == 50 and name[0] == "c"))


def check(desk, names, theirs, count):
    if desk.rejects:
        sys.exit(f"{len(desk.rejects)} rejects, the first: {desk.rejects[0]}")
    if desk.logons < 2 and count >= 997:
        sys.exit("the connection was never cut")
    if len(theirs) != count or set(row["cl_ord_id"] for row in theirs) != names:
        sys.exit(f"{len(theirs)} orders there, {len(names)} here")
    positions = {}
    for row in theirs:
        there = (row["status"], int(row["filled"]), Decimal(row["average"]))
        here = desk.orders[row["cl_ord_id"]]
        if there != here:
            sys.exit(f"order {row['cl_ord_id']}: there {there}, here {here}")
        sign = 1 if row["side"] == "1" else -1
        symbol = row["symbol"]
        positions[symbol] = positions.get(symbol, 0) + sign * int(row["filled"])
    late = sum(1 for n in range(1, count + 1) if n % 10 in (3, 6) and not (n % 997 and n % 501))
    if desk.refused != late:
        sys.exit(f"{desk.refused} changes were refused, want {late}")
    for symbol in positions.keys() | desk.positions.keys():
        if positions.get(symbol, 0) != desk.positions.get(symbol, 0):
            sys.exit(f"position in {symbol}: {positions} there, {desk.positions} here")


if __name__ == "__main__":
    main()
