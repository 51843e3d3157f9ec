"""Odd sheets: CSVs and workbooks cut, changed, or made of anything are read or refused in words, and quickly.

`make fuzz SECONDS=600 SEED=7` does it for so long; the suite does a short slice.
"""

from __future__ import annotations

import io
import os
import random
import time
import zipfile
from pathlib import Path

from openpyxl import Workbook

from sorbus.map.sheets.sheet import COLUMNS, read_grid, read_sheet
from tests.conftest import Report
from tests.producers.http.oddities import NUMBERS, TEXTS

SECONDS = float(os.environ.get("SORBUS_FUZZ_SECONDS", "2"))
SEED = os.environ.get("SORBUS_FUZZ_SEED", "1")
HEAD = [*COLUMNS.values()]
XML = [b"<c t='e'>", b"&x;", b"]]>", b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"\0", b"t='s'", b"<v>99999999999</v>",
       b"r='ZZZZ9'", b"<v>1e400</v>", b"<v>-5e9</v>", b"s='999'", b"<row r='-1'>", b"\xff"]  # fmt: skip


def test_no_sheet_raises_or_takes_long(tmp_path: Path, report: Report) -> None:
    chance, number, findings = random.Random(SEED), 0, 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        number += 1
        ending, content = _odd(chance)
        file = tmp_path / f"sheet{ending}"
        file.write_bytes(content)
        began = time.monotonic()
        rows, found = read_sheet(file)
        _, more = read_grid(file)
        findings += bool(found or more)
        assert time.monotonic() - began < 10, f"number {number} of seed {SEED} took long"
        assert all(str(each.message) and each.fix for each in [*found, *more]), f"number {number} of seed {SEED}"
        assert all("\0" not in row.source_field for row in rows)
    assert findings > 0
    report(f"{number} odd sheets of seed {SEED}, {findings} with findings")


def _odd(chance: random.Random) -> tuple[str, bytes]:
    ending = chance.choice([".csv", ".csv", ".xlsx", ".xlsx", ".xlsx", ".xlsm", ".ods", ".xls"])
    if ending == ".csv" or chance.random() < 0.1:
        mark = chance.choice(",;\t|")
        lines = [
            mark.join(HEAD),
            *(mark.join(_cell(chance) for _ in range(chance.choice([6, 6, 3, 400]))) for _ in range(9)),
        ]
        encoding = chance.choice(["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp037"])
        content = chance.choice(["\n", "\r\n", "\r"]).join(lines).encode(encoding, "replace")
    else:
        content = _workbook(chance)
    draw = chance.random()
    if draw < 0.15:
        content = content[: chance.randint(0, len(content))]
    elif draw < 0.4 and content:
        changed = bytearray(content)
        for _ in range(chance.choice([1, 3, 30])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        content = bytes(changed)
    return ending, content


def _cell(chance: random.Random) -> str:
    some = [
        "crm",
        "contact.name",
        "canonical",
        "person.name",
        "value | lower",
        '"',
        '""',
        'a "b',
        "=1+1",
        *NUMBERS,
        *TEXTS,
    ]
    return chance.choice(some).encode("utf-8", "replace").decode()


def _workbook(chance: random.Random) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEAD)
    for _ in range(5):
        sheet.append(["".join(one for one in _cell(chance) if one.isprintable())[:1000] for _ in range(6)])
    raw = io.BytesIO()
    book.save(raw)
    if chance.random() < 0.4:
        return raw.getvalue()
    out = io.BytesIO()
    with (
        zipfile.ZipFile(raw) as old,
        zipfile.ZipFile(out, "w", chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as new,
    ):
        for name in old.namelist():
            part = old.read(name)
            draw = chance.random()
            if draw < 0.05:
                continue
            if draw < 0.4 and part:
                place = chance.randrange(len(part))
                part = part[:place] + chance.choice(XML) + part[place + chance.choice([0, 0, 8]) :]
            new.writestr(name, part)
    return out.getvalue()
