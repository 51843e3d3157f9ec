"""What a draft holds: values, each guess with why, and what a person has to fill in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import JsonValue

TODO = "TODO"
"""How a value begins that a person has to fill in; a description with one is refused."""


class Guess(NamedTuple):
    """One guess: its place in the description, what was written there, why, and what to check."""

    place: str
    value: JsonValue
    why: str
    is_todo: bool = False


@dataclass
class Draft:
    """A description as data, in the order in which it is written, and the guesses about it by place.

    A place is the keys joined by dots: resources.customers.list.pagination. The guess is a comment above that key.
    """

    data: dict[str, JsonValue]
    guesses: dict[str, Guess] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """What was found and not described, each with why."""

    def guess(self, place: str, value: JsonValue, why: str) -> None:
        """Notes why a value was written."""
        self.guesses[place] = Guess(place, value, why)

    def todo(self, place: str, what: str) -> str:
        """Notes something to fill in, and returns the value to write meanwhile."""
        value = f"{TODO}: {what}"
        self.guesses[place] = Guess(place, value, what, is_todo=True)
        return value
