"""Entries that name a renamed one."""

from __future__ import annotations

from typing import cast

from sorbus.errors import Contended, PermanentError
from sorbus.ldap.referrers import Referrer, follow
from sorbus.ldap.session import Changes, Directory

REFUSED = PermanentError("insufficientAccessRights (50)", reason="refused", words="no write access", status=50)
GONE = PermanentError("noSuchObject (32)", reason="gone", status=32)
CHANGED = Contended("noSuchAttribute (16)", status=16, words="changed")


class Answering:
    """A directory that answers so, by the entry's name."""

    system = "staff"

    def __init__(self, **answers: Exception) -> None:
        self.answers, self.changed = answers, list[str]()

    def modify(self, dn: str, changes: Changes, *, doing: str) -> None:
        assert "having manager of" in doing
        assert changes == {"manager": [("delete", [b"cn=Old"]), ("add", [b"cn=New"])]}
        if (answer := self.answers.get(dn)) is not None:
            raise answer
        self.changed.append(dn)


def told(**answers: Exception) -> tuple[PermanentError | None, list[str]]:
    directory = Answering(**answers)
    referrers = [Referrer(dn, "manager", b"cn=Old") for dn in ("a", "b", "c", "d")]
    return follow(referrers, "cn=New", cast("Directory", directory)), directory.changed


def test_one_that_is_refused_stops_no_other_and_is_told_of() -> None:
    fault, changed = told(a=REFUSED, b=GONE, c=CHANGED)
    assert changed == ["d"]
    assert fault is not None
    assert "manager of a still names it cn=Old" in str(fault)
    assert fault.status == 50
    fault, changed = told(b=REFUSED, d=REFUSED)
    assert changed == ["a", "c"]
    assert "manager of b and 1 more entries" in str(fault)


def test_one_that_was_changed_or_deleted_meanwhile_is_no_fault() -> None:
    assert told(b=GONE, c=CHANGED) == (None, ["a", "d"])
