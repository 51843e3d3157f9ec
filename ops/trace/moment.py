"""What happened to a record at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue


class Moment(NamedTuple):
    """One thing that happened: `what` in a sentence; `changes`: field -> [before, after]; `subject` names its page.

    `kind`: event, crosswalk, audit, erasure, or the `item` of a kind of decision.
    `is_open`: it still waits for a person.
    """

    at: datetime
    kind: str
    where: str
    what: str
    changes: Mapping[str, JsonValue] = {}
    subject: str = ""
    is_open: bool = False
