"""What happened to a record at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import JsonValue

Kind = Literal["event", "letter", "waiting", "duplicate", "conflict", "crosswalk", "drift", "audit", "erasure"]


class Moment(NamedTuple):
    """One thing that happened: `what` in a sentence; `changes`: field -> [before, after]; `subject` names its page.

    `is_open`: it still waits for a person.
    """

    at: datetime
    kind: Kind
    where: str
    what: str
    changes: Mapping[str, JsonValue] = {}
    subject: str = ""
    is_open: bool = False
