"""What befalls a producer in a test: it dies, or meets a fault, at a step of publishing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sorbus.bus.direct_publisher import DirectPublisher
from sorbus.bus.names import Names
from sorbus.bus.publisher import Publisher
from sorbus.errors import TransientError
from sorbus.producers.session import CaptureSession
from sorbus.settings import Settings

_STEPS = (
    (Publisher, "begin"),
    (Publisher, "produce"),
    (Publisher, "produce_all"),
    (Publisher, "commit"),
    (DirectPublisher, "_send"),
    (DirectPublisher, "flush"),
    (CaptureSession, "_read_and_publish"),
)


class Died(BaseException):
    """The process is gone."""


def end_transaction(settings: Settings, names: Names, system: str) -> None:
    """Aborts what a dead producer has left open, as Kafka does after a minute: nobody reads its topics before that.

    A successor of the same system does so itself; after a move to another system there is none.
    """
    Publisher(settings, names.transactional_id(system)).close()


class Fate:
    """What befalls a producer at its step of a number: `died`, or a fault that a new session follows."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.left, self.what, self.said = chance, 0, "", ""

    def plan(self, steps: int, what: str) -> None:
        self.left, self.what, self.said = steps, what, ""

    def step(self, name: str) -> None:
        if not self.what:
            return
        self.left -= 1
        if self.left > 0:
            return
        self.said, what, self.what = f"{self.what} at {name}", self.what, ""
        raise Died if what == "died" else TransientError("a fault of the test", retry_after=0.01)


@contextmanager
def fated(fate: Fate, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Producers meet their fate before or after the steps of publishing; the dead leave what they had begun."""

    def watched(of: type, name: str) -> None:
        real = getattr(of, name)

        def call(*given: object, **named: object) -> object:
            fate.step(f"the beginning of {name}")
            found = real(*given, **named)
            fate.step(f"the end of {name}")
            return found

        patch.setattr(of, name, call)

    for of, name in _STEPS:
        watched(of, name)
    abort, drop = Publisher.close, DirectPublisher.close

    def left(publisher: Publisher) -> None:
        if fate.said.startswith("died"):
            publisher._producer.purge()
        else:
            abort(publisher)

    def dropped(publisher: DirectPublisher) -> None:
        if fate.said.startswith("died") and fate.chance.random() < 0.5:
            publisher._producer.purge()  # what was sent, not what waits
            publisher._producer.flush(5)
        else:
            drop(publisher)

    patch.setattr(Publisher, "close", left)
    patch.setattr(DirectPublisher, "close", dropped)
    yield
