"""The records of an application, from its description alone."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import cast

from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError, Unshown
from sorbus.http_api.answers import SHAPE, is_empty_list, may_hold, records_of, same_id
from sorbus.http_api.description import ApiResource, Listing, Operation, Search
from sorbus.http_api.error_mapping import header, said_failure
from sorbus.http_api.etag_cache import Revalidation
from sorbus.http_api.interface import (
    Accepted,
    Answer,
    Api,
    Call,
    CutShort,
    FoundRecord,
    MakeApi,
    Page,
    Record,
    Transport,
)
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.named import named_by
from sorbus.http_api.outcome import reports_failure
from sorbus.http_api.pagination import (
    PagePosition,
    after_page,
    is_behind_the_last,
    join_url,
    may_be_a_maximum,
    page_call,
    says_more,
    shows_all,
    total_of,
    values_of,
)
from sorbus.http_api.path import is_null, read_path, write_path
from sorbus.http_api.placeholders import quoted
from sorbus.http_api.requests import as_stored, emptied, if_match, merged, placed, request, request_with, revision_of
from sorbus.http_api.silence import silenced, silent_fields
from sorbus.http_api.values import write_moment


def open_api(transport: Transport) -> Api:
    """An application's records: from its description, or by the hook that it names."""
    hook = transport.description.hook
    if not hook:
        return RecordsApi(transport)
    module, _, name = hook.partition(":")
    try:
        make = cast("MakeApi", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise SorbusError(
            f"the hook {hook!r} of {transport.description.api} can't be loaded; write MODULE:CLASS"
        ) from error
    return make(transport)


class RecordsApi:
    """Implements `sorbus.http_api.interface.Api`. Thread-safe, as its transport is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._description = transport.description
        self._known = Revalidation()
        self._listed: dict[str, float] = {}
        """Resource -> when its list was last there while a search was not found (monotonic seconds)."""

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        """See `Api`. An item that refers to a record deleted meanwhile is left out."""
        about = self._resource(resource)
        listing = about.list if since is None else about.changes
        if listing is None:
            what = "all" if since is None else "changed"
            raise SorbusError(f"{self._description.api} can't list {what} {resource}; see its description")
        place = None if after is None else PagePosition.from_text(after)
        values = self._values() | dict(values_of(listing.pagination, place))
        if since is not None:
            values["since"] = write_moment(since, listing.since_format)
        call = page_call(request(listing, values), listing.pagination, place)
        doing = f"listing {resource} of {self._description.title}"
        try:
            answer = self._read(call, doing=doing)
        except PermanentError as error:
            if place is None or not is_behind_the_last(listing.pagination, place, error):
                raise
            return Page((), None, refused=str(error), may_be_cut=may_be_a_maximum(listing.pagination, place, error))
        if answer.status == 304 and since is not None:
            return Page((), None)
        records = self._records(answer, listing, doing)
        base_url = self._transport.base_url
        url = join_url(base_url, call.path)
        following = after_page(listing.pagination, place, answer, records, id_path=about.id, url=url, base_url=base_url)
        after = None if following is None else following.to_text()
        if listing.is_paged:
            has_more = after is None and says_more(answer, listing.pagination)
        else:  # whoever described it may not have seen that there are pages
            has_more = not shows_all(call, answer, records, listing.records)
        if listing.refers:  # the total counts its items, of which several may refer to one record
            return Page(self._referred(resource, records, listing.refers), after, None, has_more)
        return Page(records, after, total_of(answer, listing.pagination), has_more)

    def get(self, resource: str, id: str) -> FoundRecord | None:
        """See `Api`."""
        found = self.look(resource, id)
        return None if found is None or is_deleted(self._resource(resource), found.record) else found

    def look(self, resource: str, id: str) -> FoundRecord | None:
        """See `Shows`."""
        about = self._resource(resource)
        operation = self._operation(resource, about.get, "read")
        doing = f"reading {resource} {id} of {self._description.title}"
        try:
            call = request(operation, self._values(**_id(about, id)))
            answer = self._read(as_stored(call) if about.etag else call, doing=doing)
        except PermanentError as error:
            if error.reason == "gone":
                return None
            raise
        record = read_path(answer.body, operation.record)
        if not isinstance(record, dict) or (not operation.record and read_path(record, about.id) is None):
            self._refuse_failure(answer, doing)
        if operation.no_content and (answer.status == 204 or is_null(answer.body, operation.record)):
            return None
        if not isinstance(record, dict):
            if is_empty_list(answer.body, operation.record):
                return None
            raise TransientError(f"{doing}: the answer has no record at {operation.record or 'its top'}; {SHAPE}")
        shown = read_path(record, about.id)
        if isinstance(shown, Decimal) and shown == shown.to_integral_value():
            shown = int(shown)  # 7.0 is 7
        other = None if shown is None or same_id(str(shown), id) else str(shown)
        return FoundRecord(record, header(answer.headers, "etag") or None if about.etag else None, other)

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        """See `Api`. Extra results of an inexact search are left out, except records that don't show the field."""
        about = self._resource(resource)
        search = about.search.get(field)
        if search is None:
            return None
        doing = f"searching {resource} of {self._description.title} by {field}"
        records: list[Record] = []
        place: PagePosition | None = None
        for _ in range(_MOST_FOUND):
            found, place, is_whole = self._found(resource, search, value, place, doing)
            records += [record for record in found if isinstance(record, dict)]
            if place is None:
                break
        if search.refers:
            records = self._referred(resource, records, search.refers)
        kept = [
            record
            for record in records
            if not is_deleted(about, record) and (search.exact or may_hold(record, field, value))
        ]
        return kept if is_whole and place is None else CutShort(kept)

    def _found(
        self, resource: str, search: Search, value: str, place: PagePosition | None, doing: str
    ) -> tuple[list[Record], PagePosition | None, bool]:
        """A page of search results, its next position, and whether the search seems complete."""
        about, paging = self._resource(resource), search.pagination
        values = self._values(value=quoted(value, search.quote)) | dict(values_of(paging, place))
        call = page_call(request(search, values), paging, place)
        try:
            answer = self._transport.send(call, doing=doing)
        except PermanentError as error:
            if place is not None and is_behind_the_last(paging, place, error):
                return [], None, not may_be_a_maximum(paging, place, error)
            if error.reason != "gone":
                raise
            self._require_list(resource, error)
            return [], None, True
        records = self._records(answer, search, doing)
        url = join_url(self._transport.base_url, call.path)
        base_url = self._transport.base_url
        following = after_page(paging, place, answer, records, id_path=about.id, url=url, base_url=base_url)
        if paging.style != "none":
            return records, following, True
        return records, None, shows_all(call, answer, records, search.records)

    def _require_list(self, resource: str, error: PermanentError) -> None:
        """TransientError where a search isn't found, and the list neither: a gateway says so of every address."""
        if self._resource(resource).list is None or time.monotonic() - self._listed.get(resource, -_FRESH) < _FRESH:
            return
        try:
            self.page(resource)
        except (PermanentError, AuthError) as other:  # a list that may not be read is there
            if isinstance(other, PermanentError) and other.reason == "gone":
                why = "the application may be being deployed, or base_url is another's; it will be asked again"
                raise TransientError(f"{error}; nor is the list found: {why}") from other
        self._listed[resource] = time.monotonic()

    def create(self, resource: str, fields: Record, *, key: str) -> Record:
        """See `Api`. Accepted: success, but the answer names no record for certain, so a search has to find it."""
        about = self._resource(resource)
        operation = self._operation(resource, about.create, "create")
        doing = f"creating {_named(resource)} in {self._description.title}"
        answer = self._written(self.creating(resource, fields, key=key), about, operation, doing)
        if operation.returns == "record":
            record = read_path(answer.body, operation.record)
            id = read_path(record, about.id) if isinstance(record, dict) else None
        else:
            record, id = None, read_path(answer.body, operation.returned_id or about.id)
        named = named_by(answer, about, id)
        if not named.is_sure:
            raise Accepted(
                f"{doing}: {self._description.title} answers {answer.status} without naming the record; Sorbus searches"
                " for it and doesn't send it again",
                named=named.id,
            )
        if isinstance(record, dict) and id is not None:
            return record
        if operation.returns == "reference":
            found = self.get(resource, str(named.id))
            if found is None:
                raise Accepted(f"{doing}: {named.id} was created but can't be read; {SHAPE}", named=named.id)
            return found.record
        made: Record = dict(fields)
        write_path(made, about.id, named.id if id is None else id)
        return made

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Record | None:
        """See `Api`."""
        call = self.updating(resource, id, fields, current=current)
        about = self._resource(resource)
        doing = f"updating {_named(resource)} {id} in {self._description.title}"
        answer = self._written(call, about, about.update, doing)
        if about.update is None or about.update.returns != "record" or answer.body is None:
            return None
        record = read_path(answer.body, about.update.record)
        if not isinstance(record, dict):
            raise Unshown(
                f"{doing}: {self._description.title} answers {answer.status} without the record at"
                f" {about.update.record or 'its top'}; it may have been carried out nevertheless. If it always answers"
                " so, write `returns: nothing` in the description's `update:`",
                status=answer.status,
                words="",
            )
        return record if str(read_path(record, about.id)) == id else None

    def delete(self, resource: str, id: str, *, current: FoundRecord | None = None) -> None:
        """See `Api`."""
        call = self.deleting(resource, id, current=current)
        about = self._resource(resource)
        self._written(call, about, about.delete, f"deleting {_named(resource)} {id} in {self._description.title}")

    def can_merge(self, resource: str) -> bool:
        """See `Merges`."""
        return self._resource(resource).merge is not None

    def merge(self, resource: str, id: str, survivor: str) -> str:
        """See `Merges`."""
        about = self._resource(resource)
        operation = self._operation(resource, about.merge, "merge")
        named = {**_id(about, id), "survivor": _id(about, survivor)["id"]}
        doing = f"merging {_named(resource)} {id} into {survivor} in {self._description.title}"
        answer = self._written(request(operation, {**self._values(), **named}), about, operation, doing)
        if operation.returns == "nothing":
            return survivor
        left = read_path(read_path(answer.body, operation.record), operation.returned_id or about.id)
        return survivor if left is None else str(left)

    def creating(self, resource: str, fields: Record, *, key: str) -> Call:
        """See `Api`."""
        description = self._description
        operation = self._operation(resource, self._resource(resource).create, "create")
        named = {description.idempotency_header: key} if description.idempotency_header and key else {}
        sent = silent_fields(operation, placed(self._resource(resource), fields))
        call = silenced(operation, request_with(operation, self._values(), sent, named), self._values())
        if description.idempotency_parameter and key:
            call = replace(call, parameters={**call.parameters, description.idempotency_parameter: key})
        return call

    def updating(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Call:
        """See `Api`. Reads the record if that is needed and `current` is None."""
        about = self._resource(resource)
        operation = self._operation(resource, about.update, "update")
        if current is None and (about.revision or not operation.partial):
            current = self._current(resource, id)
        if current is not None and not operation.partial:
            fields = merged(about, current.record, fields)
        values = self._values(**_id(about, id), **revision_of(about, current))
        sent = silent_fields(operation, placed(about, emptied(about, operation, fields)))
        return silenced(operation, request_with(operation, values, sent, if_match(about, current)), values)

    def deleting(self, resource: str, id: str, *, current: FoundRecord | None = None) -> Call:
        """See `Api`. Reads the record if that is needed and `current` is None."""
        about = self._resource(resource)
        operation = self._operation(resource, about.delete, "delete")
        if current is None and about.revision:
            current = self._current(resource, id)
        values = self._values(**_id(about, id), **revision_of(about, current))
        call = request(operation, values)
        call = silenced(operation, replace(call, headers={**call.headers, **if_match(about, current)}), values)
        if operation.encoding == "form" and call.json is not None:
            return request_with(operation, values, {}, call.headers)
        return call

    def _current(self, resource: str, id: str) -> FoundRecord:
        found = self.get(resource, id)
        if found is None or found.other_id is not None:
            raise PermanentError(
                f"{_named(resource)} {id} of {self._description.title} doesn't exist any more",
                reason="gone",
                field="id",
            )
        return found

    def _referred(self, resource: str, items: Sequence[Record], path: str) -> list[Record]:
        """The records that items refer to, each once."""
        ids = dict.fromkeys(str(id) for item in items if (id := read_path(item, path)) is not None)
        return [found.record for id in ids if (found := self.get(resource, id)) is not None]

    def _written(self, call: Call, about: ApiResource, operation: Operation | None, doing: str) -> Answer:
        """A write's answer, unless its body reports a failure."""
        answer = self._transport.send(call, doing=doing)
        is_top = operation is not None and not operation.record and operation.returns == "record"
        if reports_failure(answer.body, about.fields if is_top else ()):
            sent = call.json if call.form is None else call.form
            error = said_failure(
                answer, self._description.errors, system=self._description.title, doing=doing, sent=sent
            )
            if isinstance(error, PermanentError) and operation is about.create and about.create is not None:
                named = read_path(read_path(answer.body, about.create.record), about.id)
                error.reason = error.reason if named is None else "uncertain"  # it may have been created nevertheless
            if error is not None:
                raise error
        return answer

    def _records(self, answer: Answer, asked: Listing | Search, doing: str) -> list[Record]:
        """See `records_of`. TransientError for an answer that has errors in place of records."""
        if read_path(answer.body, asked.records) in (None, []):
            self._refuse_failure(answer, doing)
        return records_of(answer, asked, doing)

    def _refuse_failure(self, answer: Answer, doing: str) -> None:
        """TransientError for a success answer to a read that reports a failure, as GraphQL's and JSON-RPC's do."""
        if reports_failure(answer.body):
            error = said_failure(
                answer, self._description.errors, system=self._description.title, doing=doing, is_read=True
            )
            if error is not None:
                raise error

    def _read(self, call: Call, *, doing: str) -> Answer:
        return self._known.hear(call, self._transport.send(self._known.ask(call), doing=doing))

    def _values(self, **own: str | int) -> dict[str, str | int]:
        return {**self._transport.settings, **own}

    def _resource(self, name: str) -> ApiResource:
        try:
            return self._description.resources[name]
        except KeyError:
            known = ", ".join(self._description.resources)
            raise SorbusError(f"{self._description.api} has no resource {name!r}; it has {known}") from None

    def _operation(self, resource: str, operation: Operation | None, verb: str) -> Operation:
        if operation is None:
            raise PermanentError(
                f"{self._description.title} can't {verb} {resource}; remove it from the flow", reason="refused"
            )
        return operation


_FRESH = 60.0
"""Seconds for which a list that was there isn't asked for again."""
_MOST_FOUND = 20
"""Maximum pages of search results: with more, the search can't tell who has one value."""


def is_deleted(resource: ApiResource, record: Record) -> bool:
    """Whether one of the resource's marks says that the record counts as deleted; an unreadable value doesn't."""
    return any(
        (found := read_path(record, path)) is not None
        and not isinstance(found, InvalidValue)
        and (found == value or str(found) == str(value) or (value == "*" and found not in (False, "", 0)))
        for path, value in resource.deleted.items()
    )


def _id(about: ApiResource, id: str) -> dict[str, str | int]:
    """The value of {id}: a number in bodies where the description says that ids are numbers."""
    is_number = (field := about.fields.get(about.id)) is not None and field.kind == "integer"
    return {"id": int(id) if is_number and id.isascii() and id.isdecimal() and str(int(id)) == id else id}


def _named(resource: str) -> str:
    """A resource's name for one record, in a sentence."""
    return resource.removesuffix("s") if not resource.endswith("ss") else resource
