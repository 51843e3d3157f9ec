"""Which records are linked, which are asked about, and which are made: a table of cases, and the figures."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.identity.blocking_index import BlockingIndex
from sorbus.identity.match import Alike, Candidate, Matcher, Verdict
from sorbus.identity.name_similarity import core, organisations, people
from sorbus.mapfile.model import DataType
from sorbus.schema import read_schema
from sorbus.schemas import packaged_schema
from tests.identity.people import make_customers

Fields = Mapping[str, object]


def matcher(name: str, *keys: str) -> Matcher:
    return Matcher(DataType(match=list(keys)), read_schema(packaged_schema(name)))


CUSTOMER = matcher("customer", "tax_number", "email")
LARKSPUR: Fields = {
    "name": "Larkspur Trading Ltd",
    "tax_number": "GB 123 4567 89",
    "email": "office@larkspur.example",
    "phone": "+44 (0)20 7946 0123",
    "billing_address_city": "Leeds",
    "billing_address_country": "GB",
}
SMITH: Fields = {"name": "John Smith", "kind": "PERSON", "email": "john.smith@larkspur.example"}


@pytest.mark.parametrize(
    ("record", "there", "verdict", "why"),
    [
        (LARKSPUR, [{"tax_number": "gb123456789", "name": "LT"}], "link", "the same tax number"),
        (LARKSPUR, [{"email": "Office@Larkspur.Example "}], "link", "the same email"),
        (LARKSPUR, [LARKSPUR, {"tax_number": "GB123456789"}], "ask", "2 records have the same tax number"),
        (
            LARKSPUR,
            [{"tax_number": "GB123456789"}, {"email": "office@larkspur.example"}],
            "ask",
            "the keys point to different records",
        ),
        (
            LARKSPUR,
            [{"tax_number": "GB999999999", "email": "office@larkspur.example"}],
            "ask",
            "the same email, but another tax number",
        ),
        (
            LARKSPUR,
            [{"tax_number": "GB123456789", "email": "new@larkspur.example"}],
            "link",
            "the same tax number",
        ),
        (LARKSPUR, [{"name": "Larkspur Trading Limited"}], "ask", "name 100% alike"),
        (LARKSPUR, [{"name": "Larkspr Trading", "billing_address_city": "LEEDS"}], "ask", "same city: leeds"),
        (LARKSPUR, [{"name": "Larkspur", "phone": "020 7946 0123"}], "create", ""),
        (LARKSPUR, [{**LARKSPUR, "tax_number": "123456789", "email": None}], "ask", "tax number nearly the same"),
        (LARKSPUR, [{"name": "Larkspur Trading BV", "billing_address_country": "NL"}], "create", ""),
        (LARKSPUR, [{"name": "Larkspur Textiles Ltd", "billing_address_city": "Leeds"}], "create", ""),
        (LARKSPUR, [{"name": "Quarry Foods"}], "create", ""),
        (LARKSPUR, [], "create", "no record there has the same tax number or email, or a similar name"),
        (SMITH, [{"name": "J Smith", "email": "js@larkspur.example"}], "ask", "same e-mail domain: larkspur.example"),
        (SMITH, [{"name": "Smith, J.", "email": "js@larkspur.example"}], "ask", "91% alike: John Smith / Smith, J."),
        (SMITH, [{"name": "Jane Smith", "email": "jane@larkspur.example"}], "create", ""),
        (SMITH, [{"name": "J Smith"}], "create", ""),
        (
            {**SMITH, "email": "john.smith@gmail.com"},
            [{"name": "J Smith", "email": "js@gmail.com"}],
            "create",
            "",
        ),
        ({"name": "n/a", "tax_number": "0"}, [{"name": "n/a", "tax_number": "0"}], "create", ""),
    ],
)
def test_customers(record: Fields, there: list[Fields], verdict: str, why: str) -> None:
    found = CUSTOMER.judge(record, [Candidate(f"X{number}", fields) for number, fields in enumerate(there)])
    assert found.action == verdict, found
    if verdict == "link":
        assert found.external_id == "X0"
    if verdict != "create" or not there:
        assert why in f"{found.why}; {'; '.join(reason for each in found.candidates for reason in each.reasons)}"
    assert all(0 <= each.score <= 100 for each in found.candidates)


WRITTEN = ["", "J Smith", "Smith, John", "Larkspur Ltd", "& Co.", "GmbH", "n/a", "a@b.example"]
TEXT = st.sampled_from(WRITTEN) | st.text(max_size=9)
RECORDS = st.dictionaries(st.sampled_from([*LARKSPUR, "contact_name", "website", "kind"]), TEXT | st.none())


@given(RECORDS, st.lists(RECORDS, max_size=4))
def test_whatever_people_wrote_there_is_a_verdict(record: Fields, others: list[Fields]) -> None:
    there = [Candidate(f"X{number}", fields) for number, fields in enumerate(others)]
    found = CUSTOMER.judge(record, there)
    assert found == CUSTOMER.judge(record, BlockingIndex(CUSTOMER, there).near(record))
    for each in found.candidates:
        assert 0 < each.score < 100
        assert each.reasons
    if found.action == "link":
        ours, other = CUSTOMER.traits(record), CUSTOMER.traits(others[int(str(found.external_id)[1:])])
        assert any(ours.form(key) is not None and ours.form(key) == other.form(key) for key in CUSTOMER.keys)


def test_products_are_the_same_by_number_and_their_names_numbers_count() -> None:
    product = matcher("product", "sku", "gtin")
    table = {"name": "Oak table 120", "sku": "OT-120"}
    assert product.judge(table, [Candidate("X", {"sku": "ot 120"})]) == Verdict("link", "the same sku", "X")
    assert product.judge(table, [Candidate("X", {"name": "Oak table 140"})]).action == "create"
    assert product.judge(table, [Candidate("X", {"name": "oak Table 120"})]).action == "ask"


def test_a_key_that_is_only_nearly_written_so_is_a_question() -> None:
    products = matcher("product", "sku", "gtin")
    screw: Fields = {"name": "Screw", "sku": "M8x1.5"}
    other, same = Candidate("A", {"name": "Bolt", "sku": "M8x15"}), Candidate("B", {"name": "Bolt", "sku": "m8 x 1,5"})
    found = products.judge(screw, [other])
    assert (found.action, found.why) == ("ask", "the same sku but for how it is written: M8x1.5 / M8x15")
    assert [each.external_id for each in found.candidates] == ["A"]
    assert products.judge(screw, [other, same])[:3] == ("link", "the same sku", "B")


def test_employees_are_people() -> None:
    employee = matcher("employee", "email")
    ours = {"given_name": "Jana", "family_name": "Kellner", "name": "Jana Kellner", "department": "Sales"}
    assert employee.judge(ours, [Candidate("X", {"name": "Jana Kelner"})]).action == "ask"
    assert employee.judge(ours, [Candidate("X", {"name": "Jonas Kellner"})]).action == "create"


def test_a_name_is_a_weaker_key_than_any_other() -> None:
    named = matcher("customer", "name", "email")
    ours = {"name": "John Smith", "email": "john@larkspur.example"}
    assert named.judge(ours, [Candidate("X", {"name": "JOHN SMITH"})]).action == "link"
    assert named.judge(ours, [Candidate("X", {"name": "John Smith", "email": "j@fennel.example"})]).action == "ask"


def test_a_record_that_another_is_linked_to_is_never_linked_again() -> None:
    same = Candidate("X", LARKSPUR)
    found = CUSTOMER.judge(LARKSPUR, [same], taken={"X": "c17"})
    assert found.action == "ask"
    assert "c17" in found.why
    alike = Candidate("X", {"name": "Larkspur Trading"})
    assert CUSTOMER.judge(LARKSPUR, [alike], taken={"X": "c17"}).action == "create"


def test_the_map_may_settle_questions() -> None:
    asked = Verdict("ask", "alike", candidates=(Alike("X", 90, ()), Alike("Y", 85, ())))
    assert asked.under("ask") == asked
    assert asked.under("link")[:3:2] == ("link", "X")
    assert asked.under("create").action == "create"
    tied = asked._replace(candidates=(Alike("X", 90, ()), Alike("Y", 90, ())))
    assert tied.under("link") == tied, "which of the two is still a question"


def test_the_searches_go_from_keys_to_names() -> None:
    assert CUSTOMER.queries(LARKSPUR) == [
        ("tax_number", "GB 123 4567 89"),
        ("tax_number", "GB123456789"),
        ("email", "office@larkspur.example"),
        ("name", "Larkspur Trading Ltd"),
        ("name", "larkspur trading"),
    ]
    assert CUSTOMER.queries({"name": " ", "email": None}) == []


def test_names_as_people_write_them() -> None:
    assert core("Larkspur Trading GmbH & Co. KG") == core("LARKSPUR  Trading, S.A.") == "larkspur trading"
    assert core("Limited") == "limited", "something is left"
    assert organisations("Müller AG", "Muller") == 100
    assert people("Dr. John Smith", "Smith, John") == 100
    assert people("J Smith", "Kate Smith") == 0
    assert people("Smith", "John Smith") < 80


def test_a_shortlist_finds_what_judging_all_would_find() -> None:
    pairs, there = make_customers(seed=9, count=120)
    shortlist = BlockingIndex(CUSTOMER, there)
    for pair in pairs:
        assert CUSTOMER.judge(pair.record, shortlist.near(pair.record)) == CUSTOMER.judge(pair.record, there)
    for candidate in there:
        shortlist.discard(candidate.external_id)
    assert len(shortlist) == 0
    assert not any(shortlist.near(pair.record) for pair in pairs)


def test_few_are_missed_and_few_asked_in_vain() -> None:
    """Typos, initials, other legal forms, half the fields missing; relatives and branches beside them."""
    asked = right = missed = 0
    for seed in (1, 2, 3):
        pairs, there = make_customers(seed, count=300)
        shortlist = BlockingIndex(CUSTOMER, there)
        for pair in pairs:
            verdict = CUSTOMER.judge(pair.record, shortlist.near(pair.record))
            assert verdict.action != "link", "no key says it"
            if verdict.candidates:
                asked += 1
                right += verdict.candidates[0].external_id == pair.is_same_as
            else:
                missed += pair.is_same_as is not None
    precision, recall = right / asked, right / (right + missed)
    assert (precision > 0.97, recall > 0.93) == (True, True), f"precision {precision:.3f}, recall {recall:.3f}"
