"""What a system holds, written down beside the map."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.abilities import CatalogField, Resource
from sorbus.errors import MapError
from sorbus.map.catalog import catalog_file, read_catalog, write_catalog
from sorbus.schema import Kind

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda name: name != "<<"
)
KINDS = st.sampled_from(get_args(Kind))
FIELDS = st.lists(
    st.builds(CatalogField, NAMES, KINDS, NAMES, st.booleans(), st.none() | KINDS),
    max_size=5,
    unique_by=lambda field: field.name,
)
RESOURCES = st.lists(
    st.builds(
        Resource,
        NAMES,
        FIELDS.map(tuple),
        st.lists(NAMES, max_size=2).map(tuple),
        st.none() | st.integers(0, 10**9),
        st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=2).map(tuple)), max_size=2).map(tuple),
    ),
    max_size=4,
    unique_by=lambda resource: resource.name,
)


@given(resources=RESOURCES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_what_is_read(tmp_path: Path, resources: list[Resource]) -> None:
    write_catalog(tmp_path, "crm", resources)

    catalog = read_catalog(tmp_path, "crm")

    assert catalog is not None
    assert catalog.resources == {resource.name: resource for resource in resources}


def test_a_resource_is_found_by_its_last_parts_where_that_is_clear(tmp_path: Path) -> None:
    names = ["public.customers", "old.customers", "a.orders", "b.orders", "shop.items"]
    write_catalog(tmp_path, "crm", [Resource(name, (), ()) for name in names])

    catalog = read_catalog(tmp_path, "crm")

    assert catalog is not None
    found = {name: catalog.find(name) for name in ("customers", "orders", "items", "b.orders", "none")}
    assert {name: resource and resource.name for name, resource in found.items()} == {
        "customers": "public.customers",
        "orders": None,
        "items": "shop.items",
        "b.orders": "b.orders",
        "none": None,
    }


def test_no_catalog_is_no_fault(tmp_path: Path) -> None:
    assert read_catalog(tmp_path, "crm") is None


def test_a_broken_catalog_says_how_to_write_it_anew(tmp_path: Path) -> None:
    file = catalog_file(tmp_path, "crm")
    file.parent.mkdir()
    file.write_text("system: crm\nresources:\n  t:\n    fields:\n      a: {kind: text}\n")

    with pytest.raises(MapError) as refused:
        read_catalog(tmp_path, "crm")

    [finding] = refused.value.findings
    assert (finding.line, finding.fix) == (5, "rewrite it: sorbus discover crm --save")
