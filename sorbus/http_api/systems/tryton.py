"""Tryton through its JSON-RPC (docs.tryton.org, "Remote Procedure Calls"): one URL, methods of models, sessions.

In its description a path is a model's name, and a body a search's domain or values besides the fields. Lists continue
after the last record's id, or time and id, so that no page shifts. A change to an address alone, not through its party,
doesn't update the party's write_date: the full refresh finds it.
Each request carries the user's preferences, as those of Tryton's own clients do: prices belong to a company.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError
from sorbus.http_api.auth import Signature
from sorbus.http_api.description import ApiResource, Operation
from sorbus.http_api.error_mapping import clean
from sorbus.http_api.interface import Call, FoundRecord, Json, Page, Record, Transport
from sorbus.http_api.placeholders import fill_json
from sorbus.http_api.records import is_deleted
from sorbus.http_api.systems.tryton_values import CONTACTS, contact_commands, encode, flat, item_commands, moment
from sorbus.http_api.transport import HttpTransport

_LATER = re.compile(r"database is locked|deadlock|could not serialize|connection .*(closed|terminated)", re.IGNORECASE)
_UNIQUE = re.compile(r"The (\w+) on .* must be unique")
_EVERYTHING = {"active_test": False, "language": "en"}
_ACTIVE = {"language": "en"}


class TrytonApi:
    """Implements `sorbus.http_api.interface.Api`."""

    def __init__(self, transport: Transport) -> None:
        if not isinstance(transport, HttpTransport):
            raise TypeError("Tryton needs the transport for its logins")
        self._transport = transport
        self._resources = transport.description.resources
        self._preferences: Record | None = None
        transport.log_in_by(self._log_in)

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        """See `Api`; sorted by id, or with `since` by the time of the last change."""
        about = self._about(resource)
        listing = about.list if since is None else about.changes
        if listing is None:
            raise SorbusError(f"Tryton's {resource} can't be listed so; see its description")
        at, last = json.loads(after) if after else (None, 0)
        doing, size = f"listing {resource} of Tryton", listing.pagination.size
        if since is None:
            own = listing.body if isinstance(listing.body, list) else []
            domain: list[Json] = [["id", ">", last], *own]
            found = self._search(listing.path, domain, about, doing, order=[["id", "ASC"]], limit=size)
            return Page(found, json.dumps([None, found[-1]["id"]]) if len(found) == size else None)
        found = []
        for name, only in (("write_date", []), ("create_date", [["write_date", "=", None]])):
            start = moment(since if at is None else datetime.fromisoformat(at))
            from_here: list[Json] = [[name, ">=", start]]
            if at is not None:
                from_here = ["OR", [name, ">", start], [[name, "=", start], ["id", ">", last]]]
            order = [[name, "ASC"], ["id", "ASC"]]
            found += self._search(
                listing.path, [from_here, *only], about, doing, order=order, limit=size, context=_EVERYTHING
            )
        found.sort(key=lambda record: (record["write_date"], record["id"]))
        shown = found[:size]
        after = json.dumps([shown[-1]["write_date"], shown[-1]["id"]]) if len(found) >= size else None
        return Page(shown, after)

    def get(self, resource: str, id: str) -> FoundRecord | None:
        """See `Api`."""
        about = self._about(resource)
        record = self._read(resource, id, about)
        return None if record is None or is_deleted(about, record) else FoundRecord(record)

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        """See `Api`."""
        about = self._about(resource)
        search = about.search.get(field)
        if search is None:
            return None
        domain = fill_json(search.body, {**self._transport.settings, "value": value})
        doing = f"searching {resource} of Tryton by {field}"
        return self._search(search.path, domain, about, doing, order=[["id", "ASC"]], limit=100)

    def create(self, resource: str, fields: Record, *, key: str) -> Record:
        """See `Api`. Tryton has no idempotency keys."""
        doing = f"creating {resource} in Tryton"
        try:
            made = self._ask(self.creating(resource, fields, key=key), doing)
        except PermanentError as error:
            unique = _UNIQUE.search(error.words or "")
            if unique is None or unique[1].lower() in fields:
                raise
            # A value of Tryton's own, from a sequence: it gives the same one to two that are made at the same time.
            raise TransientError(f"{doing}: two got the same {unique[1]}; a later retry may succeed") from error
        if not isinstance(made, list) or not made:
            raise TransientError(f"creating {resource} in Tryton: the answer names no id, so it may have been made")
        return {**fields, "id": made[0]}

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> None:
        """See `Api`."""
        self._change(self.updating(resource, id, fields, current=current), "updating", resource, id)

    def delete(self, resource: str, id: str, *, current: FoundRecord | None = None) -> None:
        """See `Api`."""
        self._change(self.deleting(resource, id, current=current), "deleting", resource, id)

    def creating(self, resource: str, fields: Record, *, key: str) -> Call:  # noqa: ARG002 - the interface's
        """See `Api`."""
        about = self._about(resource)
        operation = _operation(about.create, resource)
        values = {**self._filled(operation), **self._values(about, fields, {})}
        return _call(operation.path, "create", [values], self._context())

    def updating(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Call:  # noqa: ARG002
        """See `Api`. Reads the current record if lists inside change, since each of their items has an id."""
        about = self._about(resource)
        operation = _operation(about.update, resource)
        there: Record = {}
        if self._nested(about, fields):
            doing = f"reading {resource} {id} of Tryton"
            domain = [["id", "=", _number(id)]]
            raw = self._rows(operation.path, domain, self._names(about), doing, [["id", "ASC"]], 1, _EVERYTHING)
            there = raw[0] if raw else {}
        values = {**self._filled(operation), **self._values(about, fields, there)}
        return _call(operation.path, "write", [_number(id)], values, self._context(_EVERYTHING))

    def deleting(self, resource: str, id: str, *, current: FoundRecord | None = None) -> Call:  # noqa: ARG002
        """See `Api`. If the description gives a body, it is what Tryton does instead of a deletion."""
        operation = _operation(self._about(resource).delete, resource)
        if operation.body:
            return _call(operation.path, "write", [_number(id)], self._filled(operation), self._context(_EVERYTHING))
        return _call(operation.path, "delete", [_number(id)], self._context(_EVERYTHING))

    def _log_in(self) -> Signature:
        connection = self._transport.application.connection
        name, password = connection.username or "", connection.value("password")
        call = _call("", "common.db.login", name, {"password": password}, "en")
        doing = f"logging in to {self._transport.application.system}"
        self._preferences = None
        session = self._transport.send_unsigned(call, doing=doing).body
        found = session.get("result") if isinstance(session, dict) else None
        if not isinstance(found, list) or len(found) < 2:
            raise AuthError(f"{doing}: Tryton gives no session; a person has to fix username or password in the map")
        text = f"{name}:{found[0]}:{found[1]}"
        return Signature({"Authorization": f"Session {base64.b64encode(text.encode()).decode()}"})

    def _context(self, own: Record | None = None) -> Record:
        """What a request is to see, by default what is active, in the user's company."""
        preferences = self._preferences
        if preferences is None:
            call = _call("res.user", "get_preferences", True, _ACTIVE)
            found = self._ask(call, f"reading the preferences of {self._transport.application.connection.username}")
            preferences = self._preferences = found if isinstance(found, dict) else {}
        return {**preferences, **(own or _ACTIVE)}

    def _about(self, resource: str) -> ApiResource:
        if resource not in self._resources:
            raise SorbusError(f"Tryton's description has no resource {resource!r}; it has {', '.join(self._resources)}")
        return self._resources[resource]

    def _filled(self, operation: Operation) -> Record:
        return fill_json(operation.body, self._transport.settings) if isinstance(operation.body, dict) else {}

    def _read(self, resource: str, id: str, about: ApiResource) -> Record | None:
        model, doing = _operation(about.get, resource).path, f"reading {resource} {id} of Tryton"
        if not id.isdecimal():
            return None
        domain = [["id", "=", _number(id)]]
        found = self._search(model, domain, about, doing, order=[["id", "ASC"]], limit=1, context=_EVERYTHING)
        return found[0] if found else None

    def _search(
        self,
        model: str,
        domain: Json,
        about: ApiResource,
        doing: str,
        *,
        order: Json,
        limit: int,
        context: Record | None = None,
    ) -> list[Record]:
        rows = self._rows(model, domain, self._names(about), doing, order, limit, context)
        return [flat(row, about.fields) for row in rows]

    def _rows(
        self, model: str, domain: Json, names: list[str], doing: str, order: Json, limit: int, context: Record | None
    ) -> list[Record]:
        found = self._ask(_call(model, "search_read", domain, 0, limit, order, names, self._context(context)), doing)
        if not isinstance(found, list):
            raise TransientError(f"{doing}: Tryton's answer holds no list of records")
        return found

    def _names(self, about: ApiResource) -> list[str]:
        """What to read, by the described fields: a list's `addresses[0].street` is Tryton's addresses.street."""
        names = {"id": None, "write_date": None, "create_date": None}
        for path in about.fields:
            if path in CONTACTS:
                names |= {"contact_mechanisms.type": None, "contact_mechanisms.value": None}
            else:
                names[re.sub(r"\[[^\]]*\]", "", path)] = None
        return list(names)

    def _nested(self, about: ApiResource, fields: Record) -> bool:
        return any(name in CONTACTS or name in _lists(about) for name in fields)

    def _values(self, about: ApiResource, fields: Record, there: Record) -> Record:
        """Flat fields as Tryton's values; `there` is the current record, for the ids of its lists' items."""
        values = {
            name: encode(value, about.fields.get(name))
            for name, value in fields.items()
            if name not in CONTACTS and name not in _lists(about)
        }
        if commands := contact_commands(fields, there.get("contact_mechanisms.") or []):
            values["contact_mechanisms"] = commands
        for name, inside in _lists(about).items():
            if commands := item_commands(fields.get(name) or [], there.get(f"{name}.") or [], inside):
                values[name] = commands
        return values

    def _change(self, call: Call, verb: str, resource: str, id: str) -> None:
        doing = f"{verb} {resource} {id} in Tryton"
        try:
            self._ask(call, doing)
        except PermanentError as error:
            if self._read(resource, id, self._about(resource)) is None:
                words = error.words
                raise PermanentError(f"{doing}: there is none", reason="gone", field="id", words=words) from error
            raise

    def _ask(self, call: Call, doing: str) -> Json:
        answer = self._transport.send(call, doing=doing).body
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise TransientError(f"{doing}: the answer isn't JSON-RPC; base_url must be http(s)://HOST:PORT/DATABASE")
        if answer.get("error"):
            _refuse(answer["error"], doing)
        return answer.get("result")


def _refuse(error: Json, doing: str) -> NoReturn:
    """Tryton's exceptions: their name, then their arguments (trytond.exceptions)."""
    name, held = (str(error[0]), error[1:]) if isinstance(error, list) and error else (str(error), [])
    parts = held[0] if held and isinstance(held[0], list) else []
    if name == "ConcurrencyException":
        raise TransientError(f"{doing}: another user is changing it now; a later retry may succeed")
    if name == "LoginException":
        raise AuthError(f"{doing}: Tryton asks for another way to log in; a person has to fix the user in Tryton")
    if name == "UserError":
        words = clean(" ".join(str(part) for part in parts[:2] if part))
    elif name == "UserWarning":
        words = clean(" ".join(str(part) for part in parts[1:3] if part)) + " (confirm it in Tryton)"
    elif _LATER.search(name):
        raise TransientError(f"{doing}: Tryton's database can't do it now: {clean(name)}")
    else:
        words = clean(name)
    reason = "duplicate" if "must be unique" in words else "refused"
    raise PermanentError(f"{doing}: Tryton says: {words}", reason=reason, words=words)


def _call(model: str, method: str, *parameters: Json) -> Call:
    named = f"model.{model}.{method}" if model else method
    return Call("POST", "/", json={"id": 1, "method": named, "params": list(parameters)})


def _operation(operation: Operation | None, resource: str) -> Operation:
    if operation is None:
        raise PermanentError(f"Tryton's description has no way to do this with {resource}", reason="refused")
    return operation


def _lists(about: ApiResource) -> dict[str, frozenset[str]]:
    """The lists inside that are written, and their items' fields."""
    found: dict[str, set[str]] = {}
    for path in about.fields:
        if match := re.fullmatch(r"(\w+)\[\d*\]\.(\w+)", path):
            found.setdefault(match[1], set()).add(match[2])
    return {name: frozenset(inside) for name, inside in found.items()}


def _number(id: str) -> int:
    if not id.isdecimal():
        raise PermanentError(
            f"{clean(id)!r} is not a Tryton id: those are numbers", reason="value", field="id", value=id
        )
    return int(id)
