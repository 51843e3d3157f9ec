"""Every request that Sorbus sends to Xero and Stripe is one that their own OpenAPI descriptions allow."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from sorbus.api.connection import HttpConnection, application
from sorbus.api.description import ApiField, ApiResource, Description
from sorbus.api.interface import Api, Found, Record
from sorbus.api.path import write_path
from sorbus.api.records import open_api
from sorbus.api.transport import open_transport
from sorbus.api.values import to_json
from sorbus.connector import BoundSystem
from sorbus.errors import PermanentError
from sorbus.map.model import System
from sorbus.state import State
from sorbus.state.database import migrate
from tests.acceptance.conftest import Report
from tests.acceptance.real import SPECS, prism, stripe_mock

pytestmark = pytest.mark.real
SAMPLES: dict[str, object] = {
    "text": "Sample",
    "integer": 7,
    "decimal": Decimal("12.50"),
    "number": 12.5,
    "boolean": True,
    "date": date(2026, 11, 24),
    "ms-date": date(2026, 11, 24),
    "datetime": datetime(2026, 11, 24, tzinfo=UTC),
    "epoch": datetime(2026, 11, 24, tzinfo=UTC),
    "ms-json": datetime(2026, 11, 24, tzinfo=UTC),
}
BY_NAME: dict[str, object] = {
    "DefaultCurrency": "EUR",
    "CurrencyCode": "EUR",
    "currency": "eur",
    "EmailAddress": "ada@example.test",
    "email": "ada@example.test",
    "preferred_locales": ["de"],
    "images": ["https://example.test/a.png"],
    "features": [],
    "marketing_features": [],
    "default_price_data": {},
    "Url": "https://example.test/",
    "url": "https://example.test/",
    "invoice_prefix": "ABC123",
}


def value(path: str, field: ApiField) -> object:
    """A value that the field may have, by its name where its kind isn't enough."""
    name = path.rpartition(".")[2].rpartition("]")[2] or path
    if field.values:
        return field.values[0]
    if field.kind == "text" and name.endswith("ID"):
        return str(uuid.uuid4())
    return BY_NAME.get(name, SAMPLES.get(field.kind))


def body(resource: ApiResource, *, creating: bool) -> Record:
    """Every field that may be sent."""
    made: Record = {}
    for path, field in resource.fields.items():
        if (
            field.read_only
            or (field.once and not creating)
            or (field.kind == "list" and path in resource.lists.values())
        ):
            continue
        sample = value(path, field)
        if sample is not None:
            written = sample if field.kind in ("list", "object") else to_json(sample, field)
            write_path(made, (field.sent_as or path).replace("[]", "[0]"), written)
    return made


class Audit:
    """Every operation of every resource, called once; what was refused."""

    def __init__(self, api: Api, description: Description) -> None:
        self.api, self.description = api, description
        self.sent = 0
        self.refused: list[str] = []

    def call(self, what: str, send: Callable[[], object]) -> object:
        self.sent += 1
        try:
            return send()
        except PermanentError as error:
            self.refused.append(f"{what}: {error}")
        return None

    def checks(self, nonsense: Callable[[], object]) -> None:
        """Fails unless the mock server refuses this."""
        with pytest.raises(PermanentError):
            nonsense()

    def everything(self) -> None:
        since = datetime(2026, 11, 1, tzinfo=UTC)
        for name, about in self.description.resources.items():
            if about.list:
                self.call(f"list {name}", lambda name=name: self.api.page(name))
            if about.changes:
                self.call(f"changes of {name}", lambda name=name: self.api.page(name, since=since))
            id = str(uuid.uuid4())
            current = self.call(f"get {name}", lambda n=name, i=id: self.api.get(n, i)) if about.get else None
            assert current is None or isinstance(current, Found)
            for field in about.search:
                for text in ("ada@example.test", 'O\'Hara "the" & 100% \\ ü'):
                    self.call(f"search {name} by {field}", lambda n=name, f=field, t=text: self.api.search(n, f, t))
            if about.create:
                fields = body(about, creating=True)
                self.call(f"create {name}", lambda n=name, f=fields: self.api.create(n, f, key=str(uuid.uuid4())))
            if about.update:
                fields = body(about, creating=False)
                self.call(
                    f"update {name}", lambda n=name, i=id, f=fields, c=current: self.api.update(n, i, f, current=c)
                )
            if about.delete:
                self.call(f"delete {name}", lambda n=name, i=id, c=current: self.api.delete(n, i, current=c))


@pytest.fixture
def opened(database: str, tmp_path: Path) -> Iterator[Callable[[str, str, dict[str, object]], Audit]]:
    """Opens a vendor's API at a mock server."""
    state = State(database)
    migrate(state)
    with ExitStack() as closing:
        closing.callback(state.close)

        def open(api: str, url: str, settings: dict[str, object]) -> Audit:
            (tmp_path / f"{api}.yaml").write_text(f"extends: {api}\nauth: {{kind: bearer}}\nother_auth: []\n")
            connection = HttpConnection.model_validate(
                {"api": f"{api}.yaml", "base_url": url, "token": SecretStr("sk_test_123"), "limits": [], **settings}
            )
            bound = BoundSystem(api, System(kind="http", owner="Finance"), connection, "", tmp_path)
            transport = open_transport(application(bound), state)
            closing.callback(transport.close)
            return Audit(open_api(transport), transport.description)

        yield open


Opened = Callable[[str, str, dict[str, object]], Audit]


def test_every_request_to_xero_validates(opened: Opened, tmp_path: Path, report: Report) -> None:
    with prism(tmp_path, SPECS / "xero" / "xero_accounting.yaml") as server:
        audit = opened("xero", server.url, {"tenant_id": str(uuid.uuid4())})
        audit.checks(lambda: audit.api.create("items", {"Code": {"not": "text"}}, key="1"))
        audit.everything()
    log = (tmp_path / "prism.log").read_text("utf-8", "replace")
    requests, violations = (
        log.count("Request received"),
        [line for line in log.splitlines() if "Violation: request" in line],
    )
    report(f"Xero: {requests} requests, {len(violations) - 1} violations, {len(audit.refused)} refused")
    assert requests >= audit.sent
    assert audit.refused == []
    assert len(violations) == 1, violations[:5]  # the nonsense


def test_every_request_to_stripe_validates(opened: Opened, tmp_path: Path, report: Report) -> None:
    with stripe_mock(tmp_path) as server:
        audit = opened("stripe", server.url, {})
        audit.checks(lambda: audit.api.create("customers", {"no_such_field": "1"}, key="1"))
        audit.everything()
    report(f"Stripe: {audit.sent} requests, {len(audit.refused)} refused")
    assert audit.sent > 15
    assert audit.refused == []
