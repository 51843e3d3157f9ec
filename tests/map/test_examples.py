"""Examples beside the mapping, and explaining: what is shown of a record's way, and what fails when a rule changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sorbus.cli.context import Context
from tests.commands import type_command

COMPANY = Path(__file__).parents[2] / "examples" / "company"
ROW = {
    "customer_no": "C-7",
    "company": f" Kiln {'and Clay ' * 7}Ltd ",
    "stage": "on hold",
    "email": " Jo@Kiln.Example ",
    "street": "Rowan 3",
}


def sorbus(map: Path, *arguments: str) -> tuple[int, str]:
    found = type_command("--map", str(map), "map", *arguments)
    return found.exit_code, found.output


@pytest.fixture
def company(tmp_path: Path) -> Path:
    """A copy of the example company's map, to be changed."""
    return Path(shutil.copytree(COMPANY, tmp_path / "company")) / "map.yaml"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new), "utf-8")


def test_every_flow_of_the_example_company_has_examples_that_pass() -> None:
    assert sorbus(COMPANY / "map.yaml", "test") == (0, "19 examples, all as expected\n")
    assert len(list((COMPANY / "mappings" / "examples").glob("*.csv"))) == 12


@pytest.mark.parametrize(
    ("sheet", "old", "new", "field"),
    [
        ("accounting.csv", "value | truncate(60)", "value | truncate(59)", "name"),
        ("accounting.csv", 'blocked,"value == ""ON_HOLD"""', 'blocked,"value == ""ACTIVE"""', "blocked"),
        ("crm.csv", "customer.email,value | trim | lower", "customer.email,value | trim", "email"),
        ("crm.csv", "order.lines[].discount_rate,value / 100", "order.lines[].discount_rate,value / 10", "lines"),
    ],
)  # fmt: skip
def test_a_changed_rule_makes_an_example_fail(company: Path, sheet: str, old: str, new: str, field: str) -> None:
    change(company.parent / "mappings" / sheet, old, new)
    code, told = sorbus(company, "test", "--json")
    assert code == 1
    assert field in {each["field"] for each in json.loads(told)["differences"]}


def test_a_difference_names_file_line_field_rule_and_steps(company: Path) -> None:
    change(company.parent / "mappings" / "accounting.csv", "value | truncate(60)", "value | trim | truncate(4)")
    code, told = sorbus(company, "test")
    assert code == 1
    for words in (
        "customer-to-accounting.csv:2: name\n    expected Kiln & Clay Ltd\n    got      Kiln\n",
        'value "Kiln & Clay Ltd" -> trim "Kiln & Clay Ltd" -> truncate(4) "Kiln" (11 characters cut)',
        "accounting.csv:3",
        "2 fields not as expected",
    ):
        assert words in told


def test_update_writes_what_comes_out_and_leaves_the_rest(company: Path) -> None:
    change(company.parent / "mappings" / "accounting.csv", "value | truncate(60)", "value | truncate(4)")
    file = company.parent / "mappings" / "examples" / "customer-to-accounting.csv"
    before = file.read_text("utf-8")
    assert sorbus(company, "test", "--update")[0] == 0
    assert sorbus(company, "test")[0] == 0
    long = ",The Most Honourable Company of Kilns and Clay Works of the C,"
    expected = before.replace(",Kiln & Clay Ltd,false", ",Kiln,false").replace(long, ",The ,")
    assert file.read_text("utf-8") == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("customer-to-nobody.csv", "expect.name\nA\n", "no flow or data type is called 'customer-to-nobody'"),
        ("customer-to-accounting.csv", "input.nam,expect.name\nA,A\n", "nothing is called 'nam' there"),
        ("customer-to-accounting.csv", "input.name,expect.nam\nA,A\n", "nothing is called 'nam' there"),
        ("customer-to-accounting.csv", "input.name\nA\n", "the examples expect nothing"),
        ("product.csv", "input.is_service:bool,expect.kind\n,\n", "there is no kind 'bool'"),
    ],
)
def test_map_check_names_examples_that_do_not_run(company: Path, name: str, text: str, words: str) -> None:
    (company.parent / "mappings" / "examples" / name).write_text(text, "utf-8")
    code, told = sorbus(company, "check")
    assert code == 1
    assert words in told
    assert Context(map_path=company).load_sound(), "a test that is behind keeps nothing from running"


def test_a_postcode_is_not_compared_as_a_number(company: Path) -> None:
    text = "input.billing_address_postal_code,expect.zip\n01067,1067\n"
    (company.parent / "mappings" / "examples" / "customer-to-accounting.csv").write_text(text, "utf-8")
    assert sorbus(company, "test")[0] == 1


def test_explaining_goes_from_the_owners_row_to_the_target_and_masks_what_is_personal(tmp_path: Path) -> None:
    row = tmp_path / "row.json"
    row.write_text(json.dumps(ROW))
    arguments = ("explain", "customer-to-accounting", "--source", str(row))
    code, told = sorbus(COMPANY / "map.yaml", *arguments, "--json")
    halves = json.loads(told)
    assert code == 1, "the row lacks labels, which every customer must have"
    status = next(each for each in halves["source"] if each["field"] == "customer.status")
    assert status["from"] == [{"field": "public.customers.stage", "value": "on hold"}]
    assert [step["step"] for step in status["steps"]] == ["value", 'lookup("customer_status")']
    blocked = next(each for each in halves["target"] if each["field"] == "debtors.blocked")
    assert (blocked["value"], blocked["from"][0]["value"]) == (True, "ON_HOLD")
    assert "Kiln" not in told
    name = next(each for each in halves["target"] if each["field"] == "debtors.name")
    assert {step["step"]: step["notice"] for step in name["steps"]} == {"value": None, "truncate(60)": "cut"}
    assert "jo@" not in told.lower()
    code, shown = sorbus(COMPANY / "map.yaml", *arguments, "--show-personal", "--field", "email")
    assert '-> trim "Jo@Kiln.Example" -> lower "jo@kiln.example"' in shown


@pytest.mark.parametrize("name", ["town", "debtors.town", "billing_address_city", "customer.billing_address_city"])
def test_a_field_is_explained_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"billing_address_city": "Dresden"}')
    arguments = ("explain", "customer-to-accounting", "--record", str(record), "--json", "--field")
    code, told = sorbus(COMPANY / "map.yaml", *arguments, name)
    assert (code, [each["field"] for each in json.loads(told)["target"]]) == (0, ["debtors.town"])
    code, told = sorbus(COMPANY / "map.yaml", *arguments, f"{name}x")
    assert code == 2
    assert f"did you mean {name}?" in " ".join(told.replace("│", " ").split())


def test_explaining_says_which_step_refuses_a_value(tmp_path: Path) -> None:
    row = tmp_path / "row.json"
    row.write_text(json.dumps({"stage": "paused"}))
    arguments = ("explain", "customer-to-accounting", "--source", str(row), "--field", "status")
    code, told = sorbus(COMPANY / "map.yaml", *arguments)
    assert code == 1
    assert "customer.status = refused\n" in told
    assert '"paused" is not in the lookup table customer_status' in told
