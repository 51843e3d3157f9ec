"""What a directory's answers mean: result codes (RFC 4511, appendix A) and broken connections, as Sorbus's errors."""

from __future__ import annotations

import re
from typing import NamedTuple

from sorbus.errors import (
    AuthError,
    Contended,
    PermanentError,
    SorbusError,
    TransientError,
    missing,
    refused_login,
)

SUCCESS, NO_SUCH_OBJECT, ALREADY_EXISTS, REFRESH_REQUIRED = 0, 32, 68, 4096
LIMITS = {3: "time limit", 4: "size limit", 11: "administrative limit"}
NO_SUCH_ATTRIBUTE, VALUE_EXISTS = 16, 20
UNSEARCHABLE = frozenset({17, 18, 21, 53})
"""Of a search: the attribute is unknown, has no such rule, can't have this value, or isn't searched."""
_NAMES = {
    1: "operationsError", 2: "protocolError", 7: "authMethodNotSupported", 8: "strongerAuthRequired", 10: "referral",
    12: "unavailableCriticalExtension", 13: "confidentialityRequired", 16: "noSuchAttribute",
    17: "undefinedAttributeType", 18: "inappropriateMatching", 19: "constraintViolation",
    20: "attributeOrValueExists", 21: "invalidAttributeSyntax", 32: "noSuchObject", 33: "aliasProblem",
    34: "invalidDNSyntax", 36: "aliasDereferencingProblem", 48: "inappropriateAuthentication",
    49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy", 52: "unavailable",
    53: "unwillingToPerform", 54: "loopDetect", 64: "namingViolation", 65: "objectClassViolation",
    66: "notAllowedOnNonLeaf", 67: "notAllowedOnRDN", 68: "entryAlreadyExists", 69: "objectClassModsProhibited",
    71: "affectsMultipleDSAs", 80: "other",
}  # fmt: skip
_AUTH = {
    7: "bind in another way",
    8: "use ldaps:// or StartTLS",
    13: "use ldaps:// or StartTLS",
    48: "give bind_dn and password",
    49: "correct bind_dn and password in the map; an expired password has to be renewed in the directory",
}
_LATER = {
    1: "see the directory's log",
    12: "the server has no paged results (RFC 2696), or not for this bind_dn",
    51: "it is tried again",
    52: "it is tried again",
}
_OF_ONE = {16, 20, 54, 80}
_FIX = {
    17: "correct the attribute's name in the mapping sheet, or add its schema to the directory",
    18: "match by another attribute",
    19: "shorten or correct the value, at its owner or by a rule",
    21: "correct the value, at its owner or by a rule: the attribute's syntax doesn't allow it",
    34: "correct `dn:` in the flow's target",
    50: "give bind_dn the right to write this entry and attribute",
    53: "see why the directory doesn't allow it: a policy, a read-only database",
    64: "correct `dn:` in the flow's target: the entry can't have this name, or not here",
    65: "map what the object class requires, and nothing that it doesn't have; or add to `object_classes:`",
    66: "delete what is below the entry first, or write deletes: soft",
    67: "the value is a part of the entry's name",
    68: "another entry has this name: link it (`match:` by an attribute that both have), or correct `dn:`",
    69: "the entry has another structural object class: create it anew, or choose other entries with `filter:`",
}
_FIELD = re.compile(r"(?:attribute|requires attribute) '([\w;.-]+)'|^([\w;.-]+): ")


class Outcome(NamedTuple):
    """A result as the server gave it."""

    code: int
    words: str = ""
    matched: str = ""


def error_of(outcome: Outcome, *, doing: str, is_write: bool) -> SorbusError:
    """The error that a result other than success means. `doing` begins its message."""
    code, words = outcome.code, outcome.words.strip()
    name = _NAMES.get(code, LIMITS.get(code, "unknown result"))
    said = f"{doing}: {name} ({code})" + (f": {words}" if words else "")
    if code in LIMITS:
        return TransientError(
            f"{said}. The answer isn't whole, and nothing follows from it: raise the server's {LIMITS[code]} for"
            " bind_dn (OpenLDAP: limits ... size.prtotal=unlimited; Active Directory: MaxPageSize, page_size:)"
        )
    if code in _AUTH:
        refused = AuthError(f"{said}; {_AUTH[code]}")
        return refused_login(refused) if code == 49 else refused
    if code == 10:
        return TransientError(f"{said}; this server refers to another one: write that one's address as url:")
    if code in _LATER:
        return missing("system", TransientError(f"{said}; {_LATER[code]}"))
    if code in _OF_ONE:
        return Contended(f"{said}; it is read again", status=code, words=words)
    if code == NO_SUCH_OBJECT and not is_write:
        where = f" (there is {outcome.matched})" if outcome.matched else ""
        return TransientError(f"{said}{where}: correct base:, or give bind_dn the right to read it")
    reason = {NO_SUCH_OBJECT: "gone", ALREADY_EXISTS: "duplicate"}.get(code, "refused")
    found = _FIELD.search(words)
    field = next((one for one in found.groups() if one), None) if found else None
    fix = f"; {_FIX[code]}" if code in _FIX else ""
    return PermanentError(f"{said}{fix}", reason=reason, field=field, words=words or name, status=code)


def broken_connection(error: Exception, *, doing: str) -> TransientError:
    """A connection that can't be made, or ended."""
    words = str(error) or type(error).__name__
    fix = ""
    if "CERTIFICATE_VERIFY_FAILED" in words or "certificate" in words.lower():
        fix = "; the server's certificate isn't valid for this name or authority: name the authority with ca_file:"
    return missing("system", TransientError(f"{doing}: {words}{fix}"))
