"""SeededRandom that repeats itself: the same for the same seed and number."""

from __future__ import annotations

from random import Random


class SeededRandom(Random):
    """A random generator for the one thing called `number`, whatever was drawn before it."""

    def __new__(cls, seed: int, number: int = 0) -> SeededRandom:  # noqa: ARG004
        return super().__new__(cls)

    def __init__(self, seed: int, number: int = 0) -> None:
        super().__init__(f"{seed}:{number}")
        self.number = number
