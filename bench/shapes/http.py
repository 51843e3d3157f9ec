"""An HTTP application that takes 50 ms for each answer, without a limit and with one of 20 requests a second."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.servers import Servers
from bench.shapes.tables import Table, Tables
from bench.watch import TooSlowError
from tests.http_api.faulty import Faulty, serving

_TABLE = Table(
    "customer",
    {"name": "text", "email": "text"},
    1_000,
    {"name": "'Old ' || n", "email": "'c' || n || '@mail.example'"},
)
_SLOW, _LIMIT, _PATIENCE = 0.05, 20, 300.0
_AT_ONCE = 8
"""Requests side by side, as the application's description allows."""


def http(servers: Servers, folder: Path, sorbus: list[str]) -> Iterator[tuple[str, float, str]]:
    """A thousand contacts made, then each of them changed: records and requests a second."""
    folder.mkdir()
    for name, limit in (("no limit", 0), (f"{_LIMIT} requests/s", _LIMIT)):
        servers.wipe(1)
        with serving() as faulty, servers.connect("src") as source:
            faulty.slow = _SLOW
            if limit:
                faulty.limits = [(limit, 1.0)]

            def write_map(place: Path, tables: Sequence[Table], faulty: Faulty = faulty, limit: int = limit) -> None:
                _write_map(place, tables, faulty, limit)

            running = Tables(servers, folder / name.replace("/", " a "), [_TABLE], sorbus, write_map)
            try:
                running.start("produce", "src")
                running.start("consume", "customer-to-app")
                for what in ("made", "changed"):
                    if what == "changed":
                        source.execute("update customer set name = 'New ' || id")
                    asked, took = _until_all(faulty, running, "POST" if what == "made" else "PATCH")
                    yield f"{name}, contacts {what}", _TABLE.rows / took, "records/s"
                    most = limit or _AT_ONCE / _SLOW
                    yield f"{name}, contacts {what}, of the requests that may be made", asked / took / most, "1"
                yield f"{name}, refused for the limit", faulty.too_many, "requests"
                names = {str(one["name"]) for one in faulty.records.all()}
                yield (
                    f"{name}, contacts as they should be",
                    len(names & {f"New {n}" for n in range(1, 1_001)}),
                    "of 1,000",
                )
            finally:
                running.stop()


def _until_all(faulty: Faulty, running: Tables, method: str) -> tuple[int, float]:
    """Requests and seconds from the first write to the last."""
    end = time.monotonic() + _PATIENCE
    began = before = 0.0
    while (written := sum(each.method == method and each.status < 300 for each in list(faulty.asked))) < _TABLE.rows:
        if written and not began:
            began, before = time.monotonic(), len(faulty.asked)
        running.check()
        if time.monotonic() > end:
            raise TooSlowError(f"{written} of {_TABLE.rows} contacts written after {_PATIENCE:.0f} s")
        time.sleep(0.02)
    return len(faulty.asked) - round(before), time.monotonic() - began


def _write_map(folder: Path, tables: Sequence[Table], faulty: Faulty, limit: int) -> None:
    faulty.api_key = "k"
    limits = {"limits": [{"requests": limit, "per": 1}]} if limit else {}
    name = faulty.describe(folder, concurrency=_AT_ONCE, **limits)
    api = {
        "kind": "http",
        "owner": "bench",
        "connection": {"api": name, "base_url": faulty.base_url, "api_key": "${API_KEY}"},
    }
    source = {"kind": "postgres", "owner": "bench", "connection": {"dsn": "${SRC}"}}
    written = {
        "company": "Bench",
        "systems": {"src": source, "app": api},
        "data_types": {"customer": {"system_of_record": "src", "source": {"table": "public.customer"}}},
        "flows": [{"data_type": "customer", "to": "app", "target": {"resource": "contacts"}}],
    }
    (folder / "map.yaml").write_text(json.dumps(written, indent=1))
    for place in ("schemas", "mappings"):
        (folder / place).mkdir()
    (folder / "schemas" / "customer.avsc").write_text(tables[0].schema())
    header = "Source System,Source Field,Target System,Target Field,Rule,Notes\n"
    read = [f"src,customer.{one},canonical,customer.{one},,\n" for one in ("name", "email")]
    given = [f"canonical,customer.{one},app,contacts.{one},,\n" for one in ("name", "email")]
    (folder / "mappings" / "src.csv").write_text(header + "".join(read))
    (folder / "mappings" / "app.csv").write_text(header + "".join(given))
