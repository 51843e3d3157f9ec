"""Logs: one shape for structlog and the standard library, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from sorbus.telemetry.logs import HIDDEN, configure_logs, redact_text


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a process called `consume a-to-b` writes; the logging configuration is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs("consume a-to-b", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_both_kinds_of_loggers_write_the_same_json(lines: io.StringIO) -> None:
    structlog.get_logger().info("delivered", count=3)
    logging.getLogger("library").warning("slow: %d s", 7)
    ours, theirs = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert (ours["event"], ours["count"], ours["level"], ours["process"]) == ("delivered", 3, "info", "consume a-to-b")
    assert (theirs["event"], theirs["level"], theirs["process"]) == ("slow: 7 s", "warning", "consume a-to-b")
    assert ours["timestamp"].endswith("Z")


def test_an_exception_is_one_line_without_its_secret(lines: io.StringIO) -> None:
    try:
        raise ConnectionError("postgresql://sorbus:hunter2@db/crm refused")
    except ConnectionError:
        structlog.get_logger().exception("no connection")
    (line,) = lines.getvalue().splitlines()
    assert "hunter2" not in line
    assert "ConnectionError: postgresql://sorbus:***@db/crm refused" in json.loads(line)["exception"]


def test_secrets_are_hidden_by_key_at_any_depth(lines: io.StringIO) -> None:
    structlog.get_logger().info(
        "open", connection={"host": "db", "password": "p1", "list": [{"api_key": "p2"}]}, token="p3"
    )
    assert not {"p1", "p2", "p3"} & set(lines.getvalue().replace('"', " ").split())
    assert json.loads(lines.getvalue())["connection"] == {
        "host": "db",
        "password": HIDDEN,
        "list": [{"api_key": HIDDEN}],
    }


def test_an_error_given_as_a_value_is_hidden_too(lines: io.StringIO) -> None:
    structlog.get_logger().warning("retry", error=OSError("http://u:secret1@host"))
    assert "secret1" not in lines.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://sorbus:{}@localhost/crm",
        "host=db password={} dbname=crm",
        "host=db password='{}' dbname=crm",
        '{{"password": "{}"}}',
        "sasl.password={}",
        "Authorization: Bearer {}",
        "client_secret={}&grant_type=x",
    ],
)
@given(secret=st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~!$*+%", min_size=8))
def test_no_secret_survives_in_a_text(text: str, secret: str) -> None:
    assume(secret not in text)
    assert secret not in redact_text(text.format(secret))


def test_ordinary_words_stay() -> None:
    text = "delivered 3 of customer to accounting in 0.2 s, see https://host:80/path and key=7"
    assert redact_text(text) == text


def test_a_value_neither_moves_the_cursor_nor_forges_a_line(lines: io.StringIO) -> None:
    stream = io.StringIO()
    configure_logs("consume a-to-b", stream=stream, json=False)
    logging.getLogger("library").warning("'A\n2026-12-01 [info] all is well\x1b[2J\r\x9b1m' is refused")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("'A")
    assert second.rstrip() == r"    2026-12-01 [info] all is well\x1b[2J\r\x9b1m' is refused"
