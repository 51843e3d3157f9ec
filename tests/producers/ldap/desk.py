"""A producer of a test's own, without Kafka: what it publishes is kept as a topic would."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from sorbus.abilities import PublishedState
from sorbus.avro.decode import read_record
from sorbus.conformance.sample_type import rows
from sorbus.connector import BoundSource, BoundSystem, Position, RejectedRecord
from sorbus.errors import PartialOutage, TransientError, Unfinished
from sorbus.mapfile.model import DataType, System
from sorbus.producers.ldap.producer import LdapProducer
from sorbus.schema import RecordSchema, parse_schema
from tests.ldap.slapd import Slapd

PERSON = parse_schema(
    {
        "type": "record",
        "name": "person",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "email", "type": ["null", "string"], "default": None},
            {"name": "manager_id", "type": ["null", "string"], "default": None},
            {"name": "phones", "type": {"type": "array", "items": "string"}, "default": []},
        ],
    }
)
GROUP = parse_schema(
    {
        "type": "record",
        "name": "team",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "members", "type": {"type": "array", "items": "string"}},
        ],
    }
)
PEOPLE = [
    ("name", "inetOrgPerson.cn", ""),
    ("email", "inetOrgPerson.MAIL", ""),
    ("manager_id", "inetOrgPerson.manager", ""),
    ("phones", "inetOrgPerson.telephoneNumber", ""),
]
OPTIONS: Mapping[str, object] = {
    "resource": "inetOrgPerson",
    "base": "ou=people,dc=example,dc=test",
    "references": {"manager": "entryUUID"},
    "every": "every 1s",
    "compare": "every 1h",
}


class Desk:
    """`records`: id -> what is published; `rejects`: id -> why; `events`: how many changes were published."""

    def __init__(
        self,
        server: Slapd,
        *,
        schema: RecordSchema = PERSON,
        mapping: list[tuple[str, str, str]] = PEOPLE,
        **options: object,
    ) -> None:
        self.server, self.schema = server, schema
        connection = LdapProducer.Connection.model_validate(server.connection)
        self.system = BoundSystem("source", System(kind="ldap", owner="IT"), connection)
        self.source = BoundSource(
            "person",
            DataType(system_of_record="source"),
            schema,
            rows("source", [(field, other, rule) for field, other, rule in mapping], into=False),
            LdapProducer.Source.model_validate({**OPTIONS, **options}),
        )
        object.__setattr__(
            self.source,
            "mapping",
            tuple(
                row.model_copy(update={"target_field": row.target_field.replace("sample.", "person.")})
                for row in self.source.mapping
            ),
        )
        self.records: dict[str, dict[str, object]] = {}
        self.rejects: dict[str, RejectedRecord] = {}
        self.versions: dict[str, int] = {}
        self.history: list[tuple[str, dict[str, object] | None]] = []
        self.deleted: list[str] = []
        self.events = 0
        self.position: Position | None = None
        self._published: dict[str, PublishedState] = {}
        self.producer: LdapProducer | None = None

    def connect(self, connection: BaseModel) -> None:
        """Another connection than the server's own."""
        self.system = replace(self.system, connection=connection)

    def open(self) -> LdapProducer:
        self.close()
        made = self.producer = LdapProducer(self.system, [self.source])
        made.remember("person", list(self._published.values()))
        made.open(self.position)
        return made

    def close(self) -> None:
        if self.producer is not None:
            self.producer.close()
            self.producer = None

    def step(self, wait: float = 0.1) -> None:
        try:
            batch = (self.producer or self.open()).read(wait)
        except (TransientError, Unfinished) as error:
            if self.producer is not None and not isinstance(error, PartialOutage | Unfinished):
                self.close()  # as the loop does
            return
        if batch is None:
            return
        self.position = batch.position
        for change in batch.changes:
            id = change.id.decode()
            assert change.version > self.versions.get(id, 0), f"{id} went back"
            self.versions[id], self.events = change.version, self.events + 1
            self.rejects.pop(id, None)
            if change.data is None:
                self.records.pop(id, None)
                self._published.pop(id, None)
                self.deleted.append(id)
                self.history.append((id, None))
                continue
            self.records[id], end = read_record(self.schema, change.data, 0)
            assert end == len(change.data)
            self.history.append((id, self.records[id]))
            self._published[id] = PublishedState(change.id, change.version, change.occurred_at, change.data)
        for reject in batch.rejects:
            self.rejects[reject.id.decode()] = reject
            self.versions[reject.id.decode()] = reject.version

    def until(self, wanted: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        """Reads until `wanted` is true."""
        deadline = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < deadline, (
                f"not {what} within {seconds} s: {self.records}, {[str(one.error) for one in self.rejects.values()]},"
                f" {self.producer.problem if self.producer else ''}"
            )
            self.step()

    def settle(self, seconds: float = 1.5) -> None:
        """Reads on, so that what shouldn't come has time to."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.step()

    def names(self) -> set[object]:
        return {one["name"] for one in self.records.values()}

    def by_name(self, name: str) -> tuple[str, dict[str, object]]:
        return next((id, one) for id, one in self.records.items() if one["name"] == name)


def certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    import subprocess

    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    named = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made.split(), *named], check=True, capture_output=True)
    return certificate, key
