"""What the map's check knows of an application from its description alone."""

from __future__ import annotations

from sorbus.http_api.catalog import resources_of_description
from sorbus.http_api.load import load_description, shipped


def test_a_list_inside_a_record_is_a_resource_of_its_own() -> None:
    found = {resource.name: resource for resource in resources_of_description(load_description("xero"))}
    assert set(found) == {"contacts", "invoices", "invoices.LineItems", "payments", "items"}
    lines = {field.name: field for field in found["invoices.LineItems"].fields}
    assert lines["Quantity"].kind == "decimal"
    invoice = {field.name: field for field in found["invoices"].fields}
    assert not [name for name in invoice if "[]" in name]
    assert (invoice["Type"].required, invoice["LineItems"].required) == (True, False)
    assert (invoice["Date"].kind, invoice["UpdatedDateUTC"].kind) == ("date", "timestamp")
    assert invoice["AmountDue"].read_only


def test_every_shipped_resource_has_its_id_among_its_fields() -> None:
    for name in shipped():
        for resource in resources_of_description(load_description(name)):
            known = {field.name for field in resource.fields}
            assert set(resource.key) <= known, f"{name}.{resource.name}"
