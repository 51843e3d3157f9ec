"""Entries that name another one by its DN: they follow when it is renamed, where the directory doesn't see to that.

Active Directory keeps such values itself, as OpenLDAP does with the overlay refint; then nothing is found here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from sorbus.errors import Contended, PermanentError
from sorbus.ldap.distinguished_name import is_same_name
from sorbus.ldap.entry_set import EntrySet, equality
from sorbus.ldap.results import NO_SUCH_OBJECT
from sorbus.ldap.session import Directory

_log = logging.getLogger(__name__)


class Referrer(NamedTuple):
    """An entry, and its attribute that holds the other's name, spelled there so."""

    dn: str
    attribute: str
    value: bytes


def referrers_of(dn: str, directory: Directory, entries: EntrySet) -> list[Referrer]:
    """Those among a flow's entries, by the attributes that the flow makes references of."""
    return [one for attribute in entries.references for one in _by(attribute, dn, directory, entries)]


def follow(referrers: list[Referrer], new: str, directory: Directory) -> PermanentError | None:
    """They name it by its new name; what to tell of those that the directory refuses to change. TransientError.

    One that was changed or deleted meanwhile stays as it is now.
    """
    refused: list[tuple[Referrer, PermanentError]] = []
    for one in referrers:
        doing = f"having {one.attribute} of {one.dn} follow to {new} in {directory.system}"
        try:
            directory.modify(one.dn, {one.attribute: [("delete", [one.value]), ("add", [new.encode()])]}, doing=doing)
        except Contended as error:
            _log.info("%s: %s", doing, error)
        except PermanentError as error:
            if error.status == NO_SUCH_OBJECT:
                _log.info("%s: %s", doing, error)
            else:
                refused.append((one, error))
    if not refused:
        return None
    first, why = refused[0]
    more = f" and {len(refused) - 1:,} more entries" if len(refused) > 1 else ""
    return PermanentError(
        f"the entry is {new} by now, and {first.attribute} of {first.dn}{more} still names it"
        f" {first.value.decode(errors='replace')}: {why}. Correct that in {directory.system}; `sorbus reconcile` finds"
        " all of them",
        reason="refused",
        words=why.words,
        status=why.status,
    )


def _by(attribute: str, dn: str, directory: Directory, entries: EntrySet) -> Iterator[Referrer]:
    same = equality(directory.schema, attribute, dn)
    if same is None:
        return
    doing = f"looking for entries of {directory.system} whose {attribute} is {dn}"
    wanted = f"(&{entries.filter}{same})"
    for entry in directory.find_all(entries.base, entries.scope, wanted, [attribute], doing=doing):
        for value in entry.values(directory.schema.spellings(attribute)):
            if is_same_name(value.decode(errors="replace"), dn):
                yield Referrer(entry.dn, attribute, value)
