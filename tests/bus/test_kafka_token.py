"""Kafka's OAUTHBEARER login with an operator's own function, against a real broker that wants tokens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorbus.bus import kafka as bus
from sorbus.errors import TransientError, UsageError
from sorbus.ops.embedded import kafka as embedded
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.ports import Ports
from sorbus.settings import KafkaConfig, Settings

_OAUTH = """\
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller},OAUTH://{host}:%(oauth)d
advertised.listeners=CLIENT://{host}:{port},OAUTH://{host}:%(oauth)d
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,OAUTH:SASL_PLAINTEXT
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
"""
_HOOK = """
import base64, json, time
calls = []

def part(content):
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

def token(config):
    calls.append(config)
    end = time.time() + {lasts}
    claims = {{"sub": "sorbus", "iat": time.time(), "exp": end}}
    return part({{"alg": "none"}}) + "." + part(claims) + ".", end

def broken(config):
    raise RuntimeError("the provider is away")

nothing = None
"""


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the operator's."""
    name = f"hooks_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(_HOOK.format(lasts=6))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_broker_that_wants_tokens_gets_them_as_long_as_it_runs(
    hooks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports, oauth = Ports.free(), Ports.free().kafka
    dropped = ("listeners=", "advertised.listeners=", "listener.security.protocol.map=")
    kept = [line for line in embedded._SETTINGS.splitlines() if not line.startswith(dropped)]
    monkeypatch.setattr(embedded, "_SETTINGS", "\n".join(kept) + "\n" + _OAUTH % {"oauth": oauth})
    broker = embedded.Kafka(tmp_path, fetch(), port=ports.kafka, controller=ports.controller)
    broker.start()
    try:
        broker.wait()
        place: KafkaConfig = {"security.protocol": "SASL_PLAINTEXT"}
        known = Settings(kafka=f"127.0.0.1:{oauth}", kafka_config=place, kafka_token=f"{hooks}:token")
        client = bus.admin(known)
        assert client.list_topics(timeout=20).brokers
        producer = bus.idempotent_producer(known, "test")
        asked, deadline = sys.modules[hooks].calls, time.monotonic() + 30
        before = len(asked)
        while len(asked) < before + 2:  # a token lasts six seconds: its successors are asked for in time
            assert time.monotonic() < deadline, "no second token was asked for within 30 s"
            assert producer.list_topics(timeout=20).brokers
            time.sleep(0.1)
        unknown = known.model_copy(update={"kafka_token": f"{hooks}:broken"})
        with pytest.raises(TransientError, match="SORBUS_KAFKA_TOKEN gives no token"):
            bus.admin(unknown)
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("nowhere:token", "nowhere"),
        ("json", "MODULE:FUNCTION"),
        ("json:nothing", "nothing"),
        ("{}:nothing", "function"),
    ],
)
def test_a_hook_that_is_not_there_is_said(hooks: str, hook: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bus.admin(Settings(kafka_token=hook.format(hooks)))
