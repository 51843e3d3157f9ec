"""A comparison whose tables are rewritten under it doesn't take them for empty."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.consumers.postgres.checksums import compared_parts, open_checksums
from sorbus.errors import TransientError
from sorbus.postgres.checksums import PostgresChecksums
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened

READS: dict[str, Callable[[PostgresChecksums], object]] = {
    "sums": lambda side: side.sums("", 1),
    "digests": lambda side: list(side.digests("", 1, [0])),
    "records": lambda side: side.records(["1"]),
    "totals": lambda side: side.totals("", ["price"]),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("rewrite", ["truncate gadgets", "alter table gadgets alter column note type varchar(7)"])
def test_a_table_that_is_rewritten_after_the_snapshot_is_no_empty_one(
    make_database: Callable[[], str], rewrite: str, read: str
) -> None:
    dsn = make_database()
    flow = flow_into(dsn)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    assert consumer.apply([writer.delivery("1", 1, gadget("a", note="short"))]) == []
    consumer.close()
    side = open_checksums(flow, compared_parts(flow), ("md5", 0))
    try:
        side.snapshot()
        READS[read](side)
        side.snapshot()
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(rewrite)
        with pytest.raises(TransientError, match="rewritten meanwhile; compare again"):
            READS[read](side)
        side.snapshot()
        READS[read](side)
    finally:
        side.close()
