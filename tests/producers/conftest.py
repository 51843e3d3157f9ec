"""A shop for each test: its database, map and topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]


@pytest.fixture
def make_shop(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path
) -> Iterator[Callable[..., Shop]]:
    """Makes a shop whose database begins with `script`; `registry`: whether events go by the registry's schema ids."""
    made: list[Shop] = []

    def make(script: str, *, registry: bool = False) -> Shop:
        settings = Settings(kafka=stack.kafka, registry=stack.registry if registry else "")
        shop = Shop(tmp_path, make_database(script), f"{unique}.", settings)
        made.append(shop)
        return shop

    yield make
    for shop in made:
        shop.close()
