"""Guessing data types from tables, on the catalogs of applications that Sorbus has never seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.abilities import CatalogField, Resource
from sorbus.map.authoring.draft_map import plural, propose_owners, rows, sheet, source_options
from sorbus.map.authoring.field_names import means_data_type, noun, singular, words
from sorbus.map.authoring.matching import Proposal, propose
from sorbus.producers.postgres.options import PostgresSource
from sorbus.schema import Kind, RecordSchema, read_schema
from sorbus.schemas import schema_files

SCHEMAS: dict[str, RecordSchema] = {file.stem: read_schema(file) for file in schema_files()}
KINDS: dict[str, Kind] = {
    "i": "int", "s": "string", "d": "date", "t": "timestamp", "n": "decimal", "f": "double", "b": "boolean",
    "x": "bytes",
}  # fmt: skip


def table(name: str, columns: str, key: str, **parents: str) -> Resource:
    """A resource from `column:kind` words (text when no kind is said); `parents` are column=table."""
    fields = []
    for word in columns.split():
        column, _, kind = word.partition(":")
        fields.append(CatalogField(column, KINDS[kind or "s"], kind or "text", False))
    refers = tuple((parent, (column,)) for column, parent in parents.items())
    return Resource(name, tuple(fields), tuple(key.split()), None, refers)


CHINOOK = [
    table(
        "public.Customer",
        "CustomerId:i FirstName LastName Company Address City State Country PostalCode Phone Email SupportRepId:i",
        "CustomerId",
        SupportRepId="public.Employee",
    ),
    table(
        "public.Employee",
        "EmployeeId:i LastName FirstName Title ReportsTo:i BirthDate:t HireDate:t Address City State Country Phone",
        "EmployeeId",
        ReportsTo="public.Employee",
    ),
    table(
        "public.Invoice",
        "InvoiceId:i CustomerId:i InvoiceDate:t BillingAddress BillingCity BillingPostalCode BillingCountry Total:n",
        "InvoiceId",
        CustomerId="public.Customer",
    ),
    table(
        "public.InvoiceLine",
        "InvoiceLineId:i InvoiceId:i TrackId:i UnitPrice:n Quantity:i",
        "InvoiceLineId",
        InvoiceId="public.Invoice",
    ),
    table("public.Track", "TrackId:i Name AlbumId:i Composer Milliseconds:i UnitPrice:n", "TrackId"),
    table("public.Album", "AlbumId:i Title ArtistId:i", "AlbumId"),
]
ODOO = [
    table("public.res_partner", "id:i name vat street street2 zip city phone email lang ref create_date:t", "id"),
    table(
        "public.sale_order",
        "id:i name client_order_ref partner_id:i date_order:t state amount_untaxed:n amount_total:n note",
        "id",
        partner_id="public.res_partner",
    ),
    table(
        "public.sale_order_line",
        "id:i order_id:i product_id:i name product_uom_qty:n price_unit:n discount:n sequence:i",
        "id",
        order_id="public.sale_order",
        product_id="public.product_product",
    ),
    table("public.product_template", "id:i name default_code list_price:n standard_price:n weight:n active:b", "id"),
    table("public.stock_quant", "id:i product_id:i location_id:i quantity:n reserved_quantity:n", "id"),
]
ADVENTURE_WORKS = [
    table(
        "sales.salesorderheader",
        "salesorderid:i orderdate:t shipdate:t purchaseordernumber customerid:i freight:n"
        " subtotal:n taxamt:n totaldue:n",
        "salesorderid",
    ),
    table(
        "sales.salesorderdetail",
        "salesorderid:i salesorderdetailid:i orderqty:i productid:i unitprice:n",
        "salesorderdetailid",
        salesorderid="sales.salesorderheader",
    ),
    table("production.product", "productid:i name productnumber color listprice:n weight:n", "productid"),
    table("humanresources.employee", "businessentityid:i jobtitle birthdate:d hiredate:d", "businessentityid"),
]


def guesses(resources: list[Resource]) -> dict[str, Proposal]:
    return {each.data_type: each for each in propose(resources, SCHEMAS)}


def pairs(proposal: Proposal) -> dict[str, str]:
    return {field.canonical.partition(".")[2]: field.source.rpartition(".")[2] for field in proposal.fields}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (CHINOOK, {"customer": "public.Customer", "employee": "public.Employee", "invoice": "public.Invoice"}),
        (
            ODOO,
            {
                "customer": "public.res_partner",
                "order": "public.sale_order",
                "product": "public.product_template",
                "stock_level": "public.stock_quant",
            },
        ),
        (
            ADVENTURE_WORKS,
            {
                "order": "sales.salesorderheader",
                "product": "production.product",
                "employee": "humanresources.employee",
            },
        ),
    ],
    ids=["Chinook", "Odoo", "AdventureWorks"],
)
def test_tables_are_recognised_by_their_names_and_columns(resources: list[Resource], expected: dict[str, str]) -> None:
    assert {name: each.resource.name for name, each in guesses(resources).items()} == expected


def test_columns_are_recognised_however_their_names_are_written() -> None:
    assert pairs(guesses(CHINOOK)["customer"]) == {
        "contact_given_name": "FirstName",
        "contact_family_name": "LastName",
        "name": "Company",
        "billing_address_line1": "Address",
        "billing_address_city": "City",
        "billing_address_region": "State",
        "billing_address_country": "Country",
        "billing_address_postal_code": "PostalCode",
        "phone": "Phone",
        "email": "Email",
        "account_manager_id": "SupportRepId",
    }
    assert pairs(guesses(ADVENTURE_WORKS)["order"]) == {
        "ordered_at": "orderdate",
        "shipped_on": "shipdate",
        "customer_reference": "purchaseordernumber",
        "customer_id": "customerid",
        "shipping_amount": "freight",
        "net_amount": "subtotal",
        "tax_amount": "taxamt",
        "total_amount": "totaldue",
        "lines[].quantity": "orderqty",
        "lines[].product_id": "productid",
        "lines[].unit_price": "unitprice",
    }


def test_a_foreign_key_says_which_record_a_column_means() -> None:
    assert pairs(guesses(ODOO)["order"])["customer_id"] == "partner_id"


@pytest.mark.parametrize(
    ("resources", "data_type", "child", "parent"),
    [
        (CHINOOK, "invoice", "public.InvoiceLine", ("InvoiceId",)),
        (ODOO, "order", "public.sale_order_line", ("order_id",)),
        (ADVENTURE_WORKS, "order", "sales.salesorderdetail", ("salesorderid",)),
    ],
)
def test_a_child_table_becomes_the_list_of_lines(
    resources: list[Resource], data_type: str, child: str, parent: tuple[str, ...]
) -> None:
    assert [tuple(each) for each in guesses(resources)[data_type].lists] == [("lines", child, parent)]


def test_what_is_required_and_not_found_is_said() -> None:
    assert guesses(ODOO)["order"].missing == ("currency",)
    assert guesses(CHINOOK)["invoice"].missing == ("currency", "lines[].net_amount")


def test_a_full_name_is_put_together_from_its_halves() -> None:
    (name,) = (field for field in guesses(CHINOOK)["employee"].fields if field.canonical == "employee.name")
    assert (name.source, name.rule) == ("", 'record.FirstName ~ " " ~ record.LastName')


def test_kinds_are_respected_and_units_get_a_rule() -> None:
    products = table("public.products", "id:i name price:f vat_percent:n picture:x weight", "id")
    found = {field.canonical: field for field in guesses([products])["product"].fields}
    assert found["product.unit_price"].rule == "value | decimal"
    assert found["product.tax_rate"].rule == "value / 100"
    assert "product.weight_kg" not in found, "text is not a valid number, whatever the column is called"


def test_a_column_that_needs_a_lookup_table_is_left_over_with_a_hint() -> None:
    orders = table("public.orders", "id:i customer_id:i currency state flux", "id")
    hints = {left.column: left.hint for left in guesses([orders])["order"].left_over}
    assert hints == {"state": "order.status, by a rule or lookup table", "flux": ""}


def test_a_table_without_a_key_is_no_data_type() -> None:
    assert guesses([table("public.customers", "name email phone", "")]) == {}


def test_lookalikes_are_not_taken_for_each_other() -> None:
    columns = "id:i company_name contact_name address city country phone"
    found = guesses([table("public.suppliers", columns, "id"), table("public.customers", columns, "id")])
    assert {name: each.resource.name for name, each in found.items()} == {"customer": "public.customers"}


def test_the_system_that_knows_most_is_proposed_as_the_owner() -> None:
    books = propose([table("debtors", "id:i name vat", "id")], SCHEMAS)
    owners = propose_owners({"books": books, "shop": propose(CHINOOK, SCHEMAS)})
    assert owners["customer"].system == "shop"
    assert owners["customer"].why == "books fills 2 fields; shop fills 11 fields"
    assert owners["invoice"].why == "the only system that has it"


def test_the_source_is_written_in_the_connectors_own_words() -> None:
    assert source_options(guesses(ODOO)["order"], PostgresSource) == {
        "table": "public.sale_order",
        "children": {"lines": {"table": "public.sale_order_line", "parent": ["order_id"]}},
    }


def test_the_sheet_goes_into_the_canonical_fields_for_an_owner_and_out_of_them_for_a_target() -> None:
    proposals = [guesses(ODOO)["order"]]
    inward, outward = rows("erp", proposals), rows("erp", proposals, ["order"])
    assert ("erp", "sale_order.client_order_ref", "canonical", "order.customer_reference", "", "") in inward
    assert ("erp", "", "canonical", "order.currency", "") in [row[:5] for row in inward], "to be filled by a person"
    assert ("canonical", "order.customer_reference", "erp", "sale_order.client_order_ref", "", "") in outward
    assert sheet(inward).splitlines()[0] == "Source System,Source Field,Target System,Target Field,Rule,Notes"


def test_tables_of_the_same_name_in_two_schemas_are_named_in_full() -> None:
    found = guesses([table("a.customers", "id:i name city", "id"), table("b.customers", "id:i name", "id")])
    assert [field.source for field in found["customer"].fields] == ["a.customers.name", "a.customers.city"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CustomerAddress1", ("customer", "address", "1")),
        ("customer_address_1", ("customer", "address", "1")),
        ("customeraddress1", ("customer", "address", "1")),
        ("HTTPStatus", ("http", "status")),
        ("territory", ("territory",)),
        ("", ()),
    ],
)
def test_a_name_is_taken_apart_into_words(name: str, expected: tuple[str, ...]) -> None:
    assert words(name) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("customers", "customer"),
        ("deliveries", "delivery"),
        ("addresses", "address"),
        ("status", "status"),
        ("bus", "bus"),
    ],
)
def test_words_are_put_in_the_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("customer", "customers"), ("delivery", "deliveries"), ("stock_level", "stock_levels"), ("survey", "surveys")],
)
def test_tables_are_named_in_the_plural(word: str, expected: str) -> None:
    assert plural(word) == expected


def test_noise_in_a_tables_name_says_nothing() -> None:
    assert noun("dbo.tblCustomerMaster") == ("customer",)
    assert means_data_type("dbo.tblCustomerMaster", "customer") == 1.0


@given(st.lists(st.text(max_size=30), max_size=8, unique=True), st.text(max_size=30))
def test_no_name_whatever_breaks_the_guessing(columns: list[str], name: str) -> None:
    fields = tuple(CatalogField(column, "string", "text", False) for column in columns)
    for proposal in propose([Resource(name, fields, tuple(columns[:1]))], SCHEMAS):
        targets = [field.canonical for field in proposal.fields]
        assert len(targets) == len(set(targets))


def test_every_schema_file_may_be_guessed() -> None:
    for name in SCHEMAS:
        assert means_data_type(f"public.{plural(name)}", name) == 1.0, Path(name)
