"""What Kafka's client raises, or never answers, is one of Sorbus's errors: a loop retries it and doesn't end."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future

import pytest

from sorbus.bus import kafka
from sorbus.errors import TransientError
from sorbus.settings import Settings
from tests.peers import peer


def test_a_future_that_is_not_answered_is_transient() -> None:
    with pytest.raises(TransientError, match="looking: Kafka hasn't answered"), kafka.kafka_errors("looking"):
        Future[None]().result(0)


@pytest.mark.slow
def test_a_broker_that_takes_connections_and_never_answers_is_transient() -> None:
    def silent(one: socket.socket, ended: threading.Event) -> None:
        ended.wait()

    with peer(silent) as port, pytest.raises(TransientError):
        kafka.cluster_id(kafka.admin(Settings(kafka=f"127.0.0.1:{port}")))
