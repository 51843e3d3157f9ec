"""Every request that Sorbus sends to Xero and Stripe is one that their own OpenAPI descriptions allow."""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from sorbus.connector import BoundSystem, Delivery
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import PermanentError, Unfinished
from sorbus.http_api.connection import HttpConnection, application
from sorbus.http_api.description import ApiField, ApiResource, Description
from sorbus.http_api.interface import Api, FoundRecord, Record
from sorbus.http_api.path import write_path
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.http_api.values import to_json
from sorbus.map.load import load_map
from sorbus.mapfile.model import System
from sorbus.state import State
from sorbus.state.database import migrate
from tests.acceptance.real import SPECS, prism, stripe_mock
from tests.conftest import Report
from tests.consumers.gadgets import Writer
from tests.http_api.applications import Asked, Reply, answering

pytestmark = pytest.mark.real
EXAMPLE = Path(__file__).parents[2] / "examples" / "saas" / "map.yaml"
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
            assert current is None or isinstance(current, FoundRecord)
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


CUSTOMER = {
    "name": "Køge Gruppe A/S",
    "number": "4711",
    "kind": "ORGANISATION",
    "status": "ACTIVE",
    "email": "ada@example.test",
    "phone": "+45 12 34 56 78",
    "tax_number": "DK12345678",
    "currency": "DKK",
    "billing_address_line1": "Torvet 1",
    "billing_address_city": "Køge",
    "billing_address_postal_code": "4600",
    "billing_address_country": "DK",
}
INVOICE = {
    "number": "INV-1",
    "kind": "SALES_INVOICE",
    "status": "APPROVED",
    "customer_id": "7",
    "issued_on": date(2026, 11, 24),
    "due_on": date(2026, 12, 24),
    "currency": "DKK",
    "total_amount": Decimal("149.85"),
    "lines": [
        {
            "net_amount": Decimal("149.85"),
            "description": "Work",
            "quantity": Decimal("1.5"),
            "unit_price": Decimal("99.90"),
        }
    ],
}
Life = Callable[[str, str, dict[str, object], dict[str, object], dict[str, object]], None]


@pytest.fixture
def live(make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    """Makes, changes and deletes a record by a flow of the example map whose applications are mock servers."""
    monkeypatch.setenv("SORBUS_DATABASE", make_database(""))
    written = EXAMPLE.read_text("utf-8")
    for name in set(re.findall(r"\$\{(\w+)\}", written)):
        monkeypatch.setenv(name, "sk_test_123" if name == "STRIPE_KEY" else str(uuid.uuid4()))

    def live(
        flow: str, system: str, given: dict[str, object], record: dict[str, object], change: dict[str, object]
    ) -> None:
        shutil.copytree(EXAMPLE.parent, tmp_path / "saas", dirs_exist_ok=True)
        document = YAML(typ="safe").load(written)
        document["systems"][system]["connection"].update(given)
        document["topic_prefix"] = f"{system}."
        (tmp_path / "saas" / "map.yaml").write_text(json.dumps(document), "utf-8")
        bound = load_map(tmp_path / "saas" / "map.yaml").flow(flow)
        for step in HttpConsumer.plan(bound):
            if step.apply:
                step.apply()
        consumer = HttpConsumer(bound)
        consumer.open()
        writer = Writer(bound.schema)
        blank = {field.name: field.default if field.has_default else None for field in bound.schema.fields}
        for version, state in ((1, record), (2, {**record, **change}), (3, None)):
            whole = None if state is None else {**blank, **state}
            assert deliver(consumer, [writer.delivery("7", version, whole)]) == []
        consumer.close()

    return live


def deliver(consumer: HttpConsumer, deliveries: list[Delivery]) -> list[str]:
    """Calls it again while it is unfinished; the refusals' words."""
    while True:
        try:
            return [str(refusal.error) for refusal in consumer.apply(deliveries)]
        except Unfinished as error:
            time.sleep(min(error.retry_after, 1.0))


def token(_: Asked) -> Reply:
    return (
        200,
        {"Content-Type": "application/json"},
        b'{"access_token": "a", "token_type": "Bearer", "expires_in": 1800}',
    )


def test_customers_and_invoices_reach_xero_by_the_example_map(live: Life, tmp_path: Path, report: Report) -> None:
    with prism(tmp_path, SPECS / "xero" / "xero_accounting.yaml") as server, answering(token) as (tokens, _):
        given: dict[str, object] = {"base_url": server.url, "token_url": f"{tokens}/token"}
        live("customer-to-accounting", "accounting", given, CUSTOMER, {"email": "new@example.test"})
        live("invoice-to-accounting", "accounting", given, INVOICE, {"due_on": date(2026, 12, 31)})
    log = (tmp_path / "prism.log").read_text("utf-8", "replace")
    violations = [line for line in log.splitlines() if "Violation: request" in line]
    sent = [word for word in ("put /Contacts", "post /Contacts/", "put /Invoices", "post /Invoices/") if word in log]
    report(f"Xero by the example map: {log.count('Request received')} requests, {len(violations)} violations; {sent}")
    assert violations == []
    assert len(sent) == 4, log[-3000:]


def test_customers_reach_stripe_by_the_example_map(live: Life, tmp_path: Path) -> None:
    with stripe_mock(tmp_path) as server:
        live("customer-to-checkout", "checkout", {"base_url": server.url}, CUSTOMER, {"email": "new@example.test"})


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
