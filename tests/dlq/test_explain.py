"""What a bookkeeper reads of a dead letter: what is wrong, with which field, what to do; never a driver's word."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg.errors
import pytest

from sorbus.deadletter import DeadLetter
from sorbus.dlq.explain import _BY_REASON, FieldNames, explain
from sorbus.errors import PermanentError
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap

MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "postgresql://x"}, owner: "Sales <sales@example.com>"}
  accounting: {kind: postgres, connection: {dsn: "postgresql://x"}}
data_types:
  customer: {system_of_record: crm, source: {table: public.customers}}
flows:
  - {data_type: customer, to: accounting, target: {table: debtors, existing: true}}
"""
SHEET = """Source System,Source Field,Target System,Target Field,Rule,Notes
crm,customers.postcode,canonical,customer.billing_address_postal_code,value,
crm,customers.mail,canonical,customer.email,value,
canonical,customer.billing_address_postal_code,accounting,debtors.zip,value,
canonical,customer.email,accounting,debtors.email,value,
"""
FLOW = "customer-to-accounting"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedMap:
    folder = tmp_path_factory.mktemp("map")
    (folder / "map.yaml").write_text(MAP)
    (folder / "mappings").mkdir()
    (folder / "mappings" / "a.csv").write_text(SHEET)
    return load_map(folder / "map.yaml")


def _letter(reason: str, field: str = "", words: str = "", flow: str = FLOW) -> DeadLetter:
    error = PermanentError("delivering: refused", reason=reason, field=field or None, words=words or None)
    system = "accounting" if flow else "crm"
    return DeadLetter.refused(
        error, data_type="customer", system=system, flow=flow, origin=("t", 0, 0), record_id=b"1", value=b""
    )


ZIP = FieldNames("zip", "billing_address_postal_code", "postcode")
SQLSTATES = sorted(
    name
    for name, kind in vars(psycopg.errors).items()
    if isinstance(kind, type) and str(getattr(kind, "sqlstate", None))[:2] in ("22", "23", "44", "54", "P0")
)


def _reasons() -> list[str]:
    """Every reason that Sorbus's own code gives a record."""
    root = Path(__file__).parents[2]
    files = [file for name in ("sorbus", "producers", "consumers") for file in (root / name).glob("**/*.py")]
    return sorted({found for file in files for found in re.findall(r'reason="([a-z ]+)"', file.read_text("utf-8"))})


def test_every_reason_of_our_own_is_explained_by_name() -> None:
    names = {name for name in _reasons() if name != "breaks writes"}  # of `sorbus plan`, not of a record
    assert names - _BY_REASON.keys() == set()


@pytest.mark.parametrize("field", ["", "zip", "billing_address_postal_code", "debtors_zip_check", "nobody_knows"])
@pytest.mark.parametrize("reason", [*SQLSTATES, *_reasons(), "incomplete", "SomethingNew", ""])
def test_every_reason_is_a_sentence_without_a_driver_s_word(loaded: LoadedMap, reason: str, field: str) -> None:
    for flow in (FLOW, ""):
        found = explain(loaded, _letter(reason, field, flow=flow))
        for text in (found.what, found.fix):
            assert text[0] == text[0].upper() or text.startswith((field, "zip", "accounting", "crm", "email")), text
            assert text.endswith("."), text
            assert not re.search(r"[a-z][A-Z]|\{|\}|SQLSTATE|Violation|None|  ", text), text
        assert found.title
        if reason and (reason in SQLSTATES or reason == "SomethingNew"):
            assert reason not in " ".join((found.title, found.what, found.fix))


@pytest.mark.parametrize("name", ["zip", "debtors.zip", "billing_address_postal_code", "debtors_zip_check"])
def test_a_field_is_named_as_the_target_and_the_owner_call_it(loaded: LoadedMap, name: str) -> None:
    found = explain(loaded, _letter("CheckViolation", name))
    assert found.fields == (ZIP,)
    assert found.what == "zip (postcode in crm) breaks a rule of accounting."
    assert found.fix.startswith("Correct postcode in crm (ask Sales)")


@pytest.mark.parametrize(
    ("reason", "field", "words", "what"),
    [
        (
            "StringDataRightTruncation",
            "zip",
            "value too long for type character varying(10)",
            "zip (postcode in crm) is longer than accounting allows (10 characters at most).",
        ),
        (
            "UniqueViolation",
            "debtors_email_key",
            'duplicate key value violates unique constraint "debtors_email_key" Key (email)=(x) already exists.',
            "accounting has another record with the same email (mail in crm), which must be unique.",
        ),
        (
            "NotNullViolation",
            "zip",
            'null value in column "zip" of relation "debtors" violates not-null constraint',
            "zip (postcode in crm) is empty, and accounting needs a value there.",
        ),
        ("refused", "zip", "is too short", "accounting refuses the record, because of zip (postcode in crm)."),
        ("refused", "", "no", "accounting refuses the record."),
    ],
)
def test_what_people_read(loaded: LoadedMap, reason: str, field: str, words: str, what: str) -> None:
    assert explain(loaded, _letter(reason, field, words)).what == what


STEPS = """
systems:
  bank: {kind: postgres, connection: {dsn: "postgresql://x"}, owner: Treasury}
data_types:
  payment: {system_of_record: bank, source: {table: public.payments}, schema: customer}
  balance: {schema: customer}
  reminder: {schema: customer}
steps:
  - {from: payment, makes: balance, owner: Finance, begin: beginning, on_leave: delete}
  - {from: balance, makes: reminder, owner: Claims, begin: beginning, on_leave: delete}
flows:
  - {data_type: balance, to: bank, target: {table: balances, existing: true}}
"""


@pytest.mark.parametrize(
    ("system", "data_type", "reason", "fix"),
    [
        ("payment-to-balance", "balance", "mapping", "Correct email of the payment in bank (ask Finance): "),
        ("payment-to-balance", "balance", "no group", "Fill in email of the payment in bank (ask Finance): "),
        ("balance-to-reminder", "reminder", "mapping", "Correct email of the balance in bank (ask Claims): "),
    ],
)  # fmt: skip
def test_a_letter_of_a_step_says_where_what_it_reads_is_corrected(
    tmp_path: Path, system: str, data_type: str, reason: str, fix: str
) -> None:
    (tmp_path / "map.yaml").write_text(STEPS)
    error = PermanentError("field email: no", reason=reason, field="email")
    letter = DeadLetter.refused(
        error, data_type=data_type, system=system, flow="", origin=("t", 0, 0), record_id=b"1", value=b""
    )
    found = explain(load_map(tmp_path / "map.yaml"), letter)
    assert found.fix.startswith(fix)
    assert "here" not in found.fix
    assert system not in found.what
