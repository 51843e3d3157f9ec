"""What an error number of MySQL or MariaDB is about (MySQL Server Error Reference; MariaDB Error Codes)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError, missing
from sorbus.write_fault import About

_NUMBERS: Mapping[About, frozenset[int]] = {
    About.ACCESS: frozenset({1044, 1045, 1049, 1130, 1251, 1275, 1370, 1396, 1698, 1820, 1862, 2054, 2059, 3118, 3159,
                             4151}),
    About.SYSTEM: frozenset({1015, 1016, 1017, 1020, 1021, 1023, 1024, 1026, 1030, 1036, 1037, 1038, 1040, 1041, 1047,
                             1053, 1077, 1078, 1080, 1094, 1114, 1129, 1135, 1152, 1158, 1159, 1160, 1161, 1180, 1181,
                             1184, 1189, 1190, 1192, 1194, 1195, 1203, 1209, 1223, 1226, 1236, 1290, 1317, 1412, 1461,
                             1598, 1613, 1614, 1637, 1665, 1792, 1836, 1927, 1928, 2002, 2003, 2005, 2006, 2013, 2014,
                             2026, 2055, 3032, 3100, 3169, 4031}),
    About.LOAD: frozenset({1205, 1206, 1213, 1297, 1969, 3024, 3101, 3572}),
    About.REFERENCE: frozenset({1216, 1217, 1451, 1452}),
    About.COLLISION: frozenset({1022, 1062, 1169, 1586}),
    About.RECORD: frozenset({1048, 1118, 1153, 1162, 1171, 1263, 1264, 1265, 1267, 1270, 1271, 1292, 1300, 1364,
                             1366, 1367, 1406, 1411, 1416, 1426, 1439, 1441, 1525, 1526, 1561, 1644, 1690, 1748,
                             1846, 1854, 3140, 3141, 3156, 3157, 3617, 3819, 3903, 4025, 4038}),
}  # fmt: skip
"""By what they are about; all others may be about the record or about the system.

1047: a node of Galera that has no cluster; 1180, 3100, 3101: a commit that others than the record kept from happening;
1267: an id in letters that the key's character set lacks.
"""
_OF_FILES = 1000
"""Below it are errors of files and memory (disk full)."""
_REASONS: Mapping[str, frozenset[int]] = {
    "StringDataRightTruncation": frozenset({1406}),
    "NumericValueOutOfRange": frozenset({1264, 1690}),
    "InvalidTextRepresentation": frozenset({1265, 1366, 1367}),
    "InvalidDatetimeFormat": frozenset({1292, 1411}),
    "CharacterNotInRepertoire": frozenset({1267, 1270, 1271, 1300}),
    "NotNullViolation": frozenset({1048, 1263, 1364}),
    "UniqueViolation": frozenset({1022, 1062, 1169, 1586}),
    "ForeignKeyViolation": frozenset({1216, 1452}),
    "RestrictViolation": frozenset({1217, 1451}),
    "CheckViolation": frozenset({1526, 1748, 3819, 4025}),
    "RaiseException": frozenset({1644}),
    "ProgramLimitExceeded": frozenset({1118, 1153}),
    "InsufficientPrivilege": frozenset({1142, 1143, 1227}),
}
"""Dead letters are grouped and explained by the same words whatever the database."""
_REASON = {number: reason for reason, numbers in _REASONS.items() for number in numbers}
_ABOUT = {number: about for about, numbers in _NUMBERS.items() for number in numbers}
_DENIED = frozenset({1142, 1143, 1227})
_COLUMN = re.compile(r"[Cc]olumn:? [`']([^'`]+)[`']")
_CONSTRAINT = re.compile(r"CONSTRAINT [`']([^'`]+)[`']|for key [`']([^'`]+)[`']|[Cc]heck constraint [`']([^'`]+)[`']")


def number_of(error: BaseException) -> int:
    """The server's (or client's) error number; 0 where there is none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def words_of(error: BaseException) -> str:
    """The server's message."""
    return str(error.args[1]) if len(error.args) > 1 else str(error)


def about_error(error: BaseException) -> About:
    """What a failed statement is about."""
    number = number_of(error)
    return About.SYSTEM if number < _OF_FILES else _ABOUT.get(number, About.EITHER)


def is_denied(error: BaseException) -> bool:
    """Whether a grant is missing."""
    return number_of(error) in _DENIED


def field_of_message(words: str) -> str | None:
    """The column or constraint that a message names."""
    found = _COLUMN.search(words) or _CONSTRAINT.search(words)
    return next(filter(None, found.groups()), None) if found else None


def as_error(error: BaseException, doing: str) -> SorbusError:
    """An error of the client library as one of Sorbus's; a rejected value is a PermanentError."""
    number, words, about = number_of(error), words_of(error), about_error(error)
    if about is About.ACCESS or number in _DENIED:
        fix = "a person has to fix the grant" if number in _DENIED else "a person has to fix user, password or database"
        denied = AuthError(f"{doing}: the server denies access: {words} (error {number}); {fix}")
        denied.lockout = number in (1045, 1698, 3118)
        return denied
    if about in (About.SYSTEM, About.LOAD):
        away = number in (0, 1040, 1053) or 2000 <= number < 2100
        later = TransientError(f"{doing}: the server can't {'be reached' if away else 'do it now'}: {words}")
        return missing("system", later) if away else later
    return refused_write(error, doing)


def refused_write(error: BaseException, doing: str) -> PermanentError:
    """The error as a single record's, with the server's own message."""
    words = words_of(error)
    return PermanentError(
        f"{doing}: the server rejects it: {words}",
        reason=_REASON.get(number_of(error), "refused"),
        field=field_of_message(words),
        words=words,
    )
