"""What `sorbus certify` says of data types that no system owns."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.errors import UsageError
from sorbus.map.load import load_map
from sorbus.ops.certify.cut import Certification
from sorbus.ops.demo.company import examples
from sorbus.settings import Settings
from tests.two_way.test_two_way_map import written as two_way_map


def refused(file: Path, data_type: str) -> str:
    """Why it can't be certified."""
    with pytest.raises(UsageError) as raised:
        Certification(load_map(file), data_type, Settings(), lambda *_: None, wait=1).run()
    return str(raised.value)


def test_what_a_step_makes_is_certified_at_what_it_is_made_from() -> None:
    told = refused(examples() / "year" / "map.yaml", "balance")
    assert told == (
        "balance is made by the step payment-to-balance, and no system owns it: certify payment;"
        " `sorbus reconcile balance-to-crm` compares the target with what was published"
    )


def test_what_is_merged_says_so(tmp_path: Path) -> None:
    two_way_map(tmp_path)
    told = refused(tmp_path / "map.yaml", "customer")
    assert told.startswith("customer is merged from several systems, none of which has all of it;")
