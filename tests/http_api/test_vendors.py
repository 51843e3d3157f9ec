"""Every described vendor, on a strict mock made from its own file or reference: lists, changes, a record's life."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sorbus.connector import BoundSystem
from sorbus.errors import PermanentError
from sorbus.http_api.connection import HttpConnection, application
from sorbus.http_api.interface import Api, Record
from sorbus.http_api.load import read_description
from sorbus.http_api.openapi import read_spec
from sorbus.http_api.openapi_diff import compare
from sorbus.http_api.path import read_path, write_path
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.http_api.values import read_moment
from sorbus.mapfile.model import System
from sorbus.ops.embedded import Addresses
from sorbus.state import State
from tests.databases import new_database
from tests.http_api.vendors.crm import Pipedrive, Salesforce, Zoho
from tests.http_api.vendors.mock import HERE, VendorMock
from tests.http_api.vendors.people import BambooHR, Freshdesk, Mailchimp
from tests.http_api.vendors.shop import Odoo, WooCommerce
from tests.http_api.vendors.work import Asana, Jira, MicrosoftLists

VENDORS: list[type[VendorMock]] = [
    Asana,
    BambooHR,
    Freshdesk,
    Jira,
    Mailchimp,
    MicrosoftLists,
    Odoo,
    Pipedrive,
    Salesforce,
    WooCommerce,
    Zoho,
]
Open = Callable[[VendorMock], Api]


@pytest.fixture(scope="module")
def state(stack: Addresses, with_state: str) -> Iterator[State]:
    """A state for all tests of this module."""
    opened = State(new_database(stack.database, with_state))
    yield opened
    opened.close()


@pytest.fixture
def opened(state: State, tmp_path: Path) -> Iterator[Open]:
    """Opens a vendor's description at its mock, without its rate limits and token endpoint."""
    with ExitStack() as closing:

        def open(vendor: VendorMock) -> Api:
            closing.enter_context(vendor.serving())
            extended: dict[str, Any] = {"extends": vendor.api, "limits": []}
            if "token" in vendor.connection:
                extended |= {"auth": {"kind": "bearer"}, "other_auth": []}
            if vendor.api == "microsoft-lists":
                extended["resources"] = {"items": {"fields": {"fields.Note": {}}}}
            (tmp_path / f"{vendor.api}.yaml").write_text(json.dumps(extended))
            connection = HttpConnection.model_validate(
                {"api": f"{vendor.api}.yaml", "base_url": base(vendor), **vendor.connection}
            )
            bound = BoundSystem(vendor.api, System(kind="http", owner="Sales"), connection, "", tmp_path)
            transport = open_transport(application(bound), state)
            closing.callback(transport.close)
            return open_api(transport)

        yield open


def base(vendor: VendorMock) -> str:
    """The mock's address, with the path of the vendor's own."""
    from urllib.parse import urlsplit

    return vendor.base_url + urlsplit(read_description(vendor.api)[0].base_url.replace("{", "").replace("}", "")).path


def sent(vendor: VendorMock, name: str, note: str | None = "a note", *, creating: bool = True) -> Record:
    """A record's fields as the description has them."""
    made: Record = {}
    for path, value in {**(vendor.more if creating else {}), vendor.name_field: name}.items():
        write_path(made, path, value)
    if note is not None:
        write_path(made, vendor.note_field, note)
    return made


def named(vendor: VendorMock, number: int) -> str:
    """A text that every vendor's name takes."""
    return f"name{number:05d}@example.com"


def everything(api: Api, vendor: VendorMock, since: datetime | None = None) -> list[str]:
    """The ids on all pages, in their order."""
    about, ids, after = read_description(vendor.api)[0].resources[vendor.resource], list[str](), None
    for _ in range(1000):
        page = api.page(vendor.resource, since=since, after=after)
        ids += [str(read_path(one, about.id)) for one in page.records]
        if (after := page.after) is None:
            return ids
    raise AssertionError("the list doesn't end")


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.api)
def test_a_description_agrees_with_the_vendors_file(vendor: type[VendorMock]) -> None:
    made = compare(*read_description(vendor.api), read_spec(HERE / f"{vendor.api}.json"))
    assert "\n".join(map(str, made.findings)) == ""
    assert made.requests >= 5


@pytest.mark.parametrize("made", VENDORS, ids=lambda vendor: vendor.api)
def test_a_list_holds_every_record_once_and_changes_hold_what_changed(made: type[VendorMock], opened: Open) -> None:
    vendor = made()
    api = opened(vendor)
    assert everything(api, vendor) == []
    vendor.most_in_page = 7
    about = read_description(vendor.api)[0].resources[vendor.resource]
    past = vendor._last
    for number in range(40):  # seven and more with one update time, over the ends of pages
        vendor.now = lambda number=number: past + timedelta(minutes=number // 13)  # type: ignore[method-assign]
        vendor.add(vendor.kind, **on_the_wire(vendor, sent(vendor, named(vendor, number))))
    ids = list(vendor.live(vendor.kind))
    assert sorted(everything(api, vendor)) == sorted(ids)
    del vendor.now  # type: ignore[method-assign]
    changed = ids[3:30:3]
    for id in changed:
        vendor.change(vendor.kind, id, **on_the_wire(vendor, sent(vendor, f"x{id}@example.com", creating=False)))
    gone = changed.pop()
    if about.delete is not None:
        vendor.remove(vendor.kind, gone)
        assert api.get(vendor.resource, gone) is None
        assert gone not in everything(api, vendor) or about.deleted
    if about.changes is not None:
        since = read_moment(newest(api, vendor, changed), about.updated_format)
        assert since is not None
        told = everything(api, vendor, since - timedelta(seconds=1))
        assert set(changed) <= set(told)
        assert not set(told) - set(changed) - {gone}
        assert everything(api, vendor, datetime.now(UTC) + timedelta(minutes=3)) == []
    assert vendor.violations == []


def newest(api: Api, vendor: VendorMock, ids: list[str]) -> object:
    about = read_description(vendor.api)[0].resources[vendor.resource]
    found = api.get(vendor.resource, ids[0])
    assert found is not None
    return next(value for path in about.updated if (value := read_path(found.record, path)))


def on_the_wire(vendor: VendorMock, fields: Record) -> Record:
    """What the vendor keeps of fields as the description has them: for these, the same."""
    del vendor
    return fields


@pytest.mark.parametrize("made", VENDORS, ids=lambda vendor: vendor.api)
def test_a_record_is_made_found_changed_and_deleted(made: type[VendorMock], opened: Open) -> None:
    vendor = made()
    api = opened(vendor)
    about = read_description(vendor.api)[0].resources[vendor.resource]
    name = "o'hara.the@example.com"
    record = api.create(vendor.resource, sent(vendor, name), key="1")
    id = str(read_path(record, about.id))
    found = api.get(vendor.resource, id)
    assert found is not None
    assert read_path(found.record, vendor.name_field) == name
    assert read_path(found.record, vendor.note_field) == "a note"
    hits = api.search(vendor.resource, vendor.name_field, name)
    assert hits is not None
    assert [str(read_path(one, about.id)) for one in hits] == [id]
    assert api.search(vendor.resource, vendor.name_field, "nobody.of.that@example.com") == []
    changed = sent(vendor, name, "another note, ünïcode 'n' \"all\"", creating=False)
    api.update(vendor.resource, id, changed, current=found)
    found = api.get(vendor.resource, id)
    assert found is not None
    assert read_path(found.record, vendor.note_field) == "another note, ünïcode 'n' \"all\""
    assert read_path(found.record, vendor.name_field) == name
    if about.delete is not None:
        api.delete(vendor.resource, id, current=found)
        assert api.get(vendor.resource, id) is None
        assert list(api.search(vendor.resource, vendor.name_field, name) or ()) == []
        with pytest.raises(PermanentError) as caught:
            api.update(vendor.resource, id, changed, current=found)
        assert caught.value.reason in ("gone", "refused")
    assert api.get(vendor.resource, "999999999") is None
    assert vendor.violations == []
