"""A target whose server may forget what it has committed when it dies: what was delivered is there all the same."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.ports import Ports
from sorbus.ops.embedded.postgres import Postgres
from tests import postgres_version
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened


@pytest.mark.slow
def test_a_target_that_commits_asynchronously_loses_nothing_that_was_delivered(tmp_path: Path) -> None:
    named = postgres_version.named()
    packages = fetch() if named is None else replace(fetch(), postgres=named)
    port = Ports.free().database
    server = Postgres(tmp_path, packages, port=port, fast=True)
    server._settings |= {"wal_writer_delay": "10s", "autovacuum": "off"}
    server.start()
    server.wait()
    try:
        flow = flow_into(server.address)
        make_tables(flow)
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute("checkpoint")
        consumer, writer = opened(flow), Writer()
        assert consumer.apply([writer.delivery("1", 1, gadget("a"))]) == []
        os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        consumer.close()
        time.sleep(1)
        server.stop()
        server.start()
        server.wait()
        with psycopg.connect(server.address) as connection:
            assert connection.execute("select id, name from gadgets").fetchall() == [("1", "a")]
    finally:
        server.stop()
