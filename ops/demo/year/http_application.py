"""A small HTTP application with people and tickets in SQLite: the year's support desk, and its mailing list.

`python -m sorbus.ops.demo.year.http_application PORT DATABASE KEY_FILE`. It answers JSON, wants the key that KEY_FILE
holds at that moment in the header X-Api-Key, and is described for Sorbus in examples/year/apis/people.yaml.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FIELDS = {
    "people": ("ours", "number", "name", "email", "status"),
    "tickets": ("subject", "customer", "status", "minutes"),
}
_TABLES = """
create table if not exists people (id integer primary key autoincrement, ours text, number text not null,
                                   name text not null, email text, status text, changed_at text not null);
create table if not exists tickets (id integer primary key autoincrement, subject text not null, customer text not null,
                                    status text not null, minutes integer not null, changed_at text not null);
"""
_SEARCHED = ("ours", "number")
_MOST = 500


def open_database(file: Path) -> sqlite3.Connection:
    """The application's database, made on first use; its people write to it too."""
    connection = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = off")
    connection.executescript(_TABLES)
    return connection


def now() -> str:
    """The moment as the application writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class PeopleAndTickets:
    """The endpoints of both resources."""

    def __init__(self, database: Path, key_file: Path) -> None:
        self._connection, self._key_file = open_database(database), key_file

    def application(self) -> Starlette:
        """As an ASGI application."""
        return Starlette(
            routes=[
                Route("/{resource}", self.collection, methods=["GET", "POST"]),
                Route("/{resource}/{id:int}", self.one, methods=["GET", "PATCH", "DELETE"]),
            ]
        )

    async def collection(self, request: Request) -> Response:
        """GET: a page of records, those since a moment, or those with a value; POST: a new one."""
        resource = str(request.path_params["resource"])
        if (refused := self._refused(request, resource)) is not None:
            return refused
        if request.method == "POST":
            return await self._create(resource, request)
        asked = request.query_params
        where, values = "1", []
        if (field := asked.get("field")) in _SEARCHED and resource == "people":
            where, values = f"{field} = ?", [asked.get("value", "")]
        elif since := asked.get("since"):
            where, values = "changed_at >= ?", [since.replace("Z", "+00:00")]
        limit = min(_MOST, max(1, int(asked.get("limit", "100"))))
        offset = (max(1, int(asked.get("page", "1"))) - 1) * limit
        order = "changed_at, id" if "since" in asked else "id"
        rows = self._connection.execute(
            f"select * from {resource} where {where} order by {order} limit ? offset ?", (*values, limit, offset)
        ).fetchall()
        (total,) = self._connection.execute(f"select count(*) from {resource} where {where}", values).fetchone()
        return JSONResponse({"data": [dict(row) for row in rows], "total": total})

    async def one(self, request: Request) -> Response:
        """A record: read, changed in the fields that are sent, or deleted."""
        resource, id = str(request.path_params["resource"]), int(request.path_params["id"])
        if (refused := self._refused(request, resource)) is not None:
            return refused
        found = self._row(resource, id)
        if found is None:
            return JSONResponse({"message": f"there is no record {id}"}, 404)
        if request.method == "DELETE":
            self._connection.execute(f"delete from {resource} where id = ?", (id,))
            return Response(status_code=204)
        if request.method == "PATCH":
            fields = _sent(resource, await request.json())
            if fields:
                names = ", ".join(f"{name} = ?" for name in fields)
                self._connection.execute(
                    f"update {resource} set {names}, changed_at = ? where id = ?", (*fields.values(), now(), id)
                )
            found = self._row(resource, id)
        return JSONResponse(found)

    async def _create(self, resource: str, request: Request) -> Response:
        fields = _sent(resource, await request.json())
        if not fields.get("number") or not fields.get("name"):
            return JSONResponse({"message": "number and name are required"}, 422)
        names, places = ", ".join(fields), ", ".join("?" * len(fields))
        done = self._connection.execute(
            f"insert into {resource} ({names}, changed_at) values ({places}, ?)", (*fields.values(), now())
        )
        return JSONResponse(self._row(resource, int(done.lastrowid or 0)), 201)

    def _row(self, resource: str, id: int) -> dict[str, object] | None:
        row = self._connection.execute(f"select * from {resource} where id = ?", (id,)).fetchone()
        return None if row is None else dict(row)

    def _refused(self, request: Request, resource: str) -> Response | None:
        if request.headers.get("x-api-key", "") != self._key_file.read_text("utf-8").strip():
            return JSONResponse({"message": "this API key was revoked"}, 401)
        if resource not in FIELDS:
            return JSONResponse({"message": f"there is no {resource}"}, 404)
        return None


def _sent(resource: str, body: Mapping[str, object]) -> dict[str, object]:
    return {name: body[name] for name in FIELDS[resource] if name in body}


if __name__ == "__main__":
    _, port, database, key_file = sys.argv
    served = PeopleAndTickets(Path(database), Path(key_file)).application()
    uvicorn.run(served, host="127.0.0.1", port=int(port), log_level="warning", timeout_graceful_shutdown=1)
