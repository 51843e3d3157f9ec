"""`map check` knows the fields of applications from their descriptions, without reaching them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sorbus.map.checks.check import check
from sorbus.map.load import load_map

SAAS = Path(__file__).parents[2] / "examples" / "saas"
ACCOUNTING, SUPPORT, MARKETING, MAP = (
    "mappings/accounting.csv",
    "mappings/support.csv",
    "mappings/marketing.csv",
    "map.yaml",
)


@pytest.mark.parametrize(
    ("file", "written", "instead", "says"),
    [
        (ACCOUNTING, "contacts.EmailAddress", "contacts.EmailAdress", "no column contacts.EmailAdress"),
        (ACCOUNTING, "PhoneType=DEFAULT", "PhoneType=HOME", "no column contacts.Phones[PhoneType=HOME].PhoneNumber"),
        (ACCOUNTING, "LineItems[].Quantity", "LineItems[].Quantitty", "did you mean Quantity?"),
        (ACCOUNTING, "contacts.TaxNumber", "contacts.Website", "contacts.Website is set by accounting itself"),
        (
            ACCOUNTING,
            "product.sku,accounting,items.Code",
            "product.sku,accounting,items.Name",
            "nothing fills items.Code",
        ),
        (ACCOUNTING, "invoice.issued_on,accounting", "invoice.total_amount,accounting", "invoices.Date is"),
        (ACCOUNTING, "payments.Date,", "payments.Day,", "no column payments.Day"),
        (SUPPORT, "tickets.Created,", "tickets.Subject,", "work_item.opened_at"),
        (MARKETING, "companies.properties.phone", "company.properties.phone", "write companies.properties.phone"),
        (MAP, "resource: companies", "resource: company", "marketing has no company"),
        (MAP, "lines: LineItems", "lines: Lines", "accounting has no invoices.Lines"),
        (MAP, "tenant_id: ", "tenant: ", "needs tenant_id"),
        (MAP, "api: stripe", "api: strip", "did you mean stripe?"),
    ],
)
def test_what_an_application_does_not_have_is_a_finding(
    tmp_path: Path, file: str, written: str, instead: str, says: str
) -> None:
    shutil.copytree(SAAS, tmp_path / "saas")
    changed = tmp_path / "saas" / file
    text = changed.read_text("utf-8")
    assert written in text
    changed.write_text(text.replace(written, instead), "utf-8")
    findings = check(load_map(tmp_path / "saas" / "map.yaml"))
    assert any(says in str(found) for found in findings), "\n".join(map(str, findings))
    assert all(found.file.is_relative_to(tmp_path) for found in findings)
