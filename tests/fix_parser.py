#!/usr/bin/env python3
"""Holds files of FIX messages against parsers that others wrote.

    pip install quickfix-ssl==1.15.1.post4 simplefix==1.0.17
    python3 tests/fix_parser.py RUN/orders/*.fix

Each line of a file is one message. QuickFIX parses and validates it against its FIX 4.4
dictionary: field order, required fields, types, values, length and checksum. simplefix, which
knows no dictionary, must read the same fields from the same bytes. ClOrdIDs must not repeat,
unless the second says that it may have been sent before (97=Y).

Exit code: 0 all valid, 1 a message is not, 2 it cannot be told (no parser, no file).
"""

import argparse
import multiprocessing
import os
import pathlib
import sys
import tempfile

SOH = b"\x01"
# Of the header, QuickFIX asks only for the first three by itself.
HEADER_TAGS = {8, 9, 35, 49, 56, 34, 52}
COMPLAINTS_MAX = 20


class CannotTell(Exception):
    """There is no parser, or no file."""


def dictionary_path():
    """The wheel puts FIX44.xml under share/ of the environment, or beside its module."""
    import quickfix

    roots = [pathlib.Path(sys.prefix), *pathlib.Path(quickfix.__file__).resolve().parents]
    for root in roots:
        path = root / "share" / "quickfix" / "FIX44.xml"
        if path.exists():
            return str(path)
    raise CannotTell("QuickFIX is installed without share/quickfix/FIX44.xml")


def quickfix_child(dictionary, lines, start, at, stderr):
    """Validates from `start` on. A message that QuickFIX refuses ends this process, because the
    wheel lets C++ exceptions through to nobody: `at` then says which line it was."""
    import quickfix

    os.dup2(stderr, 2)
    dictionary = quickfix.DataDictionary(dictionary)
    dictionary.checkFieldsOutOfOrder(True)
    dictionary.checkFieldsHaveValues(True)
    for index in range(start, len(lines)):
        at.value = index
        message = quickfix.Message(lines[index].decode("latin-1"), dictionary, True)
        dictionary.validate(message)
        # QuickFIX sorts the fields of the body by their tags.
        theirs = sorted(message.toString().encode("latin-1").split(SOH)[:-1])
        if theirs != sorted(lines[index].split(SOH)[:-1]):
            os.write(2, b"what(): other fields were read than there are")
            os._exit(1)
    os._exit(0)


def quickfix_refusals(lines):
    """Which lines QuickFIX refuses, and why."""
    fork = multiprocessing.get_context("fork")
    dictionary, refusals, start = dictionary_path(), [], 0
    while start < len(lines) and len(refusals) < COMPLAINTS_MAX:
        at = fork.Value("q", start, lock=False)
        with tempfile.TemporaryFile() as stderr:
            arguments = (dictionary, lines, start, at, stderr.fileno())
            child = fork.Process(target=quickfix_child, args=arguments)
            child.start()
            child.join()
            if child.exitcode == 0:
                break
            stderr.seek(0)
            words = stderr.read().decode("utf-8", "replace")
        why = words.rpartition("what():")[2].strip() or f"ended with code {child.exitcode}"
        refusals.append((at.value, f"QuickFIX: {why}"))
        start = at.value + 1
    return refusals


def simplefix_fields(raw):
    """The message's fields as simplefix reads them, or ValueError."""
    import simplefix

    parser = simplefix.FixParser()
    parser.append_buffer(raw)
    try:
        parsed = parser.get_message()
    except simplefix.errors.ParsingError as error:
        raise ValueError(f"simplefix: {type(error).__name__} {error}") from None
    if parsed is None:
        raise ValueError("simplefix: no whole message")
    if parser.get_message() is not None or parser.get_buffer():
        raise ValueError("simplefix: more than one message")
    if parsed.encode() != raw:
        raise ValueError("simplefix would have sent other bytes")
    return {int(tag): value for tag, value in parsed.pairs}


def check_file(path):
    """How many messages the file has, and what is wrong with them, by line."""
    data = path.read_bytes()
    lines = data.split(b"\n")
    wrong = [(len(lines), "the last line has no end")] if lines.pop() else []
    wrong += [(index + 1, why) for index, why in quickfix_refusals(lines)]
    seen = {}
    for number, raw in enumerate(lines, start=1):
        try:
            fields = simplefix_fields(raw)
        except ValueError as error:
            wrong.append((number, str(error)))
            continue
        missing = HEADER_TAGS - fields.keys()
        order_id = fields.get(11)
        if missing:
            wrong.append((number, f"no tag {sorted(missing)}"))
        elif fields[35] != b"D" or order_id is None:
            wrong.append((number, "not a NewOrderSingle with a ClOrdID"))
        elif order_id in seen and fields.get(97) != b"Y":
            wrong.append((number, f"ClOrdID {order_id.decode()} as on line {seen[order_id]}"))
        seen.setdefault(order_id, number)
    return len(lines), sorted(wrong)


def run(files):
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise CannotTell(f"no such file: {', '.join(missing)}")
    total, complaints = 0, 0
    for path in files:
        count, wrong = check_file(path)
        total += count
        complaints += len(wrong)
        for number, why in wrong[:COMPLAINTS_MAX]:
            print(f"{path}:{number}: {why}", file=sys.stderr)
    print(f"{total} messages in {len(files)} files, {complaints} complaints")
    return 1 if complaints else 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("files", nargs="+", type=pathlib.Path)
    try:
        return run(arguments.parse_args().files)
    except ImportError as error:
        why = f"{error}; pip install quickfix-ssl simplefix"
    except CannotTell as error:
        why = str(error)
    print(f"fix_parser: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
