"""A dead letter in plain words: what is wrong, with which field by each system's name for it, and what to do.

The reason that a letter carries is a driver's or an application's word ("StringDataRightTruncation"); it groups letters
and is for programs. What people read is made of it here, with the field's name in the target and at the owner.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import psycopg.errors

from sorbus.errors import SchemaError
from sorbus.map.contact import owner_of
from sorbus.map.loaded import LoadedMap
from sorbus.map.steps import step_of
from sorbus.mapfile.model import FieldMapping, ProcessStep
from sorbus.mapping.field_refs import CANONICAL


class Refused(Protocol):
    """What a dead letter, or a group of them, says of its cause."""

    @property
    def data_type(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def flow(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def words(self) -> str: ...


class FieldNames(NamedTuple):
    """One field by each system's name for it; empty where nothing maps it."""

    target: str
    canonical: str
    owner: str


class Explanation(NamedTuple):
    """`title`: a few words, for lists. `what` is wrong, a sentence; `fix`: what to do, a sentence or two."""

    title: str
    what: str
    fix: str
    fields: tuple[FieldNames, ...] = ()


class _Words(NamedTuple):
    """How one reason reads. {field}, {target}, {source}, {data_type} and {limit} are filled in."""

    title: str
    what: str
    fix: str = "CORRECT"


_CORRECT = (
    "Correct {field_at_owner} in {source}{ask}: the corrected record is then sent automatically. Or edit it here."
)
_MAPPING = "Change the mapping of {field}, or correct the value in {source}{ask}; then retry."
_TARGET = "Ask the administrator of {target}; once it is settled there, retry."
_ADMIN = "Ask the Sorbus administrator: the record itself may be fine."

_BY_REASON: dict[str, _Words] = {
    # PostgreSQL, class 22: a value that a column can't hold
    "StringDataRightTruncation": _Words("Too long", "{Field} is longer than {target} allows{limit}.", "SHORTEN"),
    "NumericValueOutOfRange": _Words("Number too large", "{Field} is a larger number than {target} can hold{limit}."),
    "InvalidTextRepresentation": _Words("Wrong type", "{Field} is not of the type that {target} expects{limit}."),
    "InvalidDatetimeFormat": _Words("Not a date", "{Field} is not a date or time that {target} can read."),
    "DatetimeFieldOverflow": _Words("Impossible date", "{Field} is a date or time that {target} can't hold."),
    "CharacterNotInRepertoire": _Words("Unknown character", "{Field} holds a character that {target} can't store."),
    "UntranslatableCharacter": _Words("Unknown character", "{Field} holds a character that {target} can't store."),
    "NullValueNotAllowed": _Words("Empty", "{Field} is empty, and {target} needs a value there."),
    # class 23: what the target's own rules say
    "NotNullViolation": _Words("Empty", "{Field} is empty, and {target} needs a value there."),
    "UniqueViolation": _Words(
        "Already there",
        "{target} has another record with the same {field}, which must be unique.",
        "UNIQUE",
    ),
    "ForeignKeyViolation": _Words(
        "Missing reference",
        "{Field} refers to a record that {target} doesn't have.",
        "Check that the record it refers to exists in {source} and is sent to {target}; then retry.",
    ),
    "CheckViolation": _Words("Rule violated", "{Field} breaks a rule of {target}{limit}."),
    "ExclusionViolation": _Words("Overlaps", "The record overlaps another one in {target}, which doesn't allow that."),
    "RestrictViolation": _Words("Still in use", "Another record of {target} still refers to this one.", _TARGET),
    "RaiseException": _Words("Refused", "{target} refuses the record by one of its own rules.", "SAID"),
    "WithCheckOptionViolation": _Words("Rule violated", "{target} refuses the record by one of its own rules.", "SAID"),
    "InsufficientPrivilege": _Words("Not allowed", "{target} doesn't let Sorbus write this record.", _TARGET),
    "GeneratedAlways": _Words("Read-only field", "{target} sets {field} itself and accepts no value for it.", _MAPPING),
    "ProgramLimitExceeded": _Words("Too large", "The record, or one of its values, is larger than {target} can store."),
    # HTTP applications
    "refused": _Words("Refused", "{target} refuses the record{because_of_field}.", "SAID"),
    "duplicate": _Words("Already there", "{target} already has this record{because_of_field}.", "UNIQUE"),
    "gone": _Words("Deleted there", "The record was deleted in {target} and can't be changed any more.", _TARGET),
    "conflict": _Words(
        "Changed at the same time",
        "The record was changed in {target} repeatedly while Sorbus was writing it.",
        "Retry. If it fails again, find out what changes it in {target}.",
    ),
    "too many to match": _Words(
        "Too many possible matches",
        "Too many records of {target} look like this one, so Sorbus can't tell whether it is there already.",
        "Make the record distinguishable in {source}{ask} (a tax number, an email), or ask the Sorbus administrator.",
    ),
    "uncertain": _Words(
        "May have been created",
        "{target} didn't say whether it has created the record, and Sorbus can't find it there.",
        "See whether {target} has it, then retry: Sorbus looks for it again before it creates anything.",
    ),
    "unmatched": _Words("No match", "No record of {target} matches this one.", "Choose the record under Duplicates."),
    "unlinked": _Words(
        "Not linked", "Sorbus doesn't know which record of {target} this one is.", "Link it under Duplicates."
    ),
    # posted records
    "unreadable body": _Words(
        "Can't be read", "What {source} posted can't be read as a record.", "Correct what {source}{ask} posts there."
    ),
    "no record": _Words(
        "No record", "What {source} posted holds no record.", "Correct what {source}{ask} posts there."
    ),
    "incomplete body": _Words(
        "A part of a record",
        "{Field} isn't in what {source} posted, which may be a part of the record.",
        "Have {source}{ask} post the whole record, or let the map take absent fields as empty (`absent: empty`).",
    ),
    "no time": _Words(
        "No valid time",
        "{Field} should say when the record was changed, and doesn't.",
        "Correct {field_at_owner} in {source}{ask}; it is then posted again.",
    ),
    "refused by the endpoint": _Words("Refused", "{target} refuses the record.", "SAID"),
    # on the way
    "mapping": _Words("Can't be converted", "{Field} can't be converted for {target}.", "CORRECT"),
    "undecided filter": _Words(
        "Condition undecided",
        "The condition (`where`) can't be decided for this record, because of {field}.",
        "Correct {field_at_owner} in {source}{ask}, or change the condition in the map; then retry.",
    ),
    "value": _Words("Not a valid value", "{Field} is not a valid value for {target}."),
    "doubled key": _Words(
        "Two with one key",
        "Another row or record has the same key, so this one doesn't count.",
        "Delete or correct all but one of them in {source}{ask}; then retry.",
    ),
    "changed key": _Words(
        "Key changed there",
        "The record's row in {target} no longer has its key, or has it written another way.",
        "Write the key into its row again, as text; then retry.",
    ),
    "a zero byte": _Words("A zero byte", "A value or the key has a zero byte, which {target} can't hold.", "CORRECT"),
    "above the header": _Words(
        "Above the header",
        "The header of the sheet in {source} was sorted in among the rows, and this row is above it.",
        "Move the header to the top again{ask}.",
    ),
    "id not unique": _Words(
        "ID not unique",
        "{source} lists several records with this ID.",
        "Name a field that is unique as `id:` in the API's description.",
    ),
    "a value that no cell holds": _Words(
        "No cell holds it", "{Field} has a value that no cell of a sheet can hold.", "CORRECT"
    ),
    "missing": _Words("Empty", "{Field} is empty, and it is needed.", "Fill in {field_at_owner} in {source}{ask}."),
    "incomplete": _Words(
        "Incomplete", "The record lacks {field}, which {target} needs.", "Fill in {field_at_owner} in {source}{ask}."
    ),
    "reference": _Words(
        "Missing reference",
        "{Field} refers to a record that {target} doesn't have yet.",
        "Check that the record it refers to exists in {source} and has been delivered; then retry.",
    ),
    "waiting too long": _Words(
        "Waited too long",
        "The record waited too long for a record that it refers to.",
        "Check that what it refers to exists in {source} and has been delivered; then retry.",
    ),
    "too large": _Words("Too large", "The record is larger than can be sent.", "Make it smaller in {source}{ask}."),
    "shape": _Words("Unexpected form", "{Field} does not have the agreed form.", _ADMIN),
    "undecodable": _Words("Can't be read", "The record's data can't be read.", _ADMIN),
    "unknown schema": _Words("Unknown format", "The record is in a format that Sorbus doesn't know.", _ADMIN),
    "not canonical": _Words("Not a valid record", "{Field} doesn't fit what a {data_type} must be."),
    "unreadable row": _Words("Can't be read", "A value of the record in {source} can't be read.", "CORRECT"),
    "no id": _Words("No ID", "{source} lists the record without an ID.", "Give it one in {source}{ask}."),
    "no group": _Words(
        "In no group",
        "{Field} is empty or can't be used, so that the record counts for no {data_type}.",
        "Fill in {field_at_owner} in {source}{ask}: it then counts automatically.",
    ),
    "no key": _Words("No key", "The record has no key, so it can't be identified.", "Give it one in {source}{ask}."),
    "not at its owner": _Words(
        "Not at its owner",
        "One system has the record, and the system that decides which records there are doesn't.",
        "Create it there with the same ID, or delete it where it is.",
    ),
    "key gone": _Words("Key changed", "The record's key was removed in {source}.", "Look for it in {source}{ask}."),
    "drift": _Words(
        "Source changed",
        "{source} has changed a field that this record is made of.",
        "Ask the Sorbus administrator to check Changed sources; the record is then sent automatically.",
    ),
    "origin": _Words("Wrong origin", "The record comes from a system that doesn't own it.", _ADMIN),
    "loop": _Words("Update loop", "The record keeps being changed by its own copies.", _ADMIN),
}
_BY_CLASS = {
    "22": _Words("Not a valid value", "{Field} is a value that {target} can't hold."),
    "23": _Words("Rule violated", "{Field} breaks a rule of {target}."),
    "54": _BY_REASON["ProgramLimitExceeded"],
    "P0": _BY_REASON["RaiseException"],
    "44": _BY_REASON["WithCheckOptionViolation"],
}
_UNKNOWN = _Words("Refused", "{target} doesn't take the record{because_of_field}.", "SAID")
_FIXES = {
    "CORRECT": _CORRECT,
    "SHORTEN": "Shorten {field_at_owner} in {source}{ask}: the record is then sent automatically. Or shorten it here"
    " or in the mapping (truncate).",
    "UNIQUE": "Find the other record in {target}: if both are the same, have them merged or one deleted; if not,"
    " correct {field_at_owner} in {source}{ask}. Then retry.",
    "SAID": "Follow what {target} says, in {source}{ask} or in {target}; then retry.",
}
_LIMITS = (
    (re.compile(r"character(?: varying)?\((\d+)\)"), " ({0} characters at most)"),
    (re.compile(r"precision (\d+), scale (\d+)"), " ({0} digits, {1} of them after the decimal point)"),
    (
        re.compile(r"type (smallint|integer|bigint|numeric|uuid|date|boolean|inet|json|jsonb)\b"),
        " (a column of type {0})",
    ),
    (re.compile(r'check constraint "([^"]+)"'), " (named {0})"),
)
_KEY = re.compile(r"Key \(([^)]+)\)=")


def explain(loaded: LoadedMap, letter: Refused) -> Explanation:
    """The dead letter's reason, for people."""
    words = _words_of(letter.reason)
    target, source = _systems(loaded, letter)
    fields = _fields(loaded, letter)
    owner = owner_of(loaded.map, source) if source in loaded.map.systems else None
    limit = next((form.format(*found.groups()) for sign, form in _LIMITS if (found := sign.search(letter.words))), "")
    field, at_owner = _named(fields, letter, source)
    if (step := step_of(loaded.map, source)) is not None:  # a person corrects what it is made of
        source = _origin(loaded, step)
        if not letter.flow:
            at_owner = f"{at_owner} of the {step.source}"
    values = {
        "target": target,
        "source": source,
        "data_type": letter.data_type,
        "limit": limit,
        "field": field,
        "Field": field[:1].upper() + field[1:] if field.startswith(("a ", "the ")) else field,
        "field_at_owner": at_owner,
        "because_of_field": f", because of {field}" if fields else "",
        "ask": f" (ask {owner.name})" if owner else "",
    }
    fix = _FIXES.get(words.fix, words.fix)
    if not letter.flow:  # the row of a source isn't edited here
        fix = fix.replace(" Or edit it here.", "").replace("shorten it here or in", "shorten it in")
    return Explanation(words.title, words.what.format(**values), fix.format(**values), fields)


def title_of(reason: str) -> str:
    """A reason in a few words, for lists."""
    return _words_of(reason).title


def _words_of(reason: str) -> _Words:
    if known := _BY_REASON.get(reason):
        return known
    state = getattr(getattr(psycopg.errors, reason, None), "sqlstate", None) if reason.isidentifier() else None
    return _BY_CLASS.get(str(state)[:2], _UNKNOWN)


def _systems(loaded: LoadedMap, letter: Refused) -> tuple[str, str]:
    """The target, and the system of record; a source's letter is about the canonical form."""
    data_type = loaded.map.data_types.get(letter.data_type)
    owner = str(data_type.system_of_record) if data_type else letter.system
    return (letter.system, owner) if letter.flow else ("Sorbus", letter.system)


def _origin(loaded: LoadedMap, step: ProcessStep) -> str:
    """The system in which people change what a step makes its records of, maybe by other steps."""
    owner = loaded.map.owner_of(step.source)
    before = step_of(loaded.map, owner)
    return owner if before is None else _origin(loaded, before)


def _fields(loaded: LoadedMap, letter: Refused) -> tuple[FieldNames, ...]:
    """The fields that it is about, by what it names: columns of a key, a constraint, a column, a canonical field."""
    key = _KEY.search(letter.words)
    names = [name.strip(' "') for name in key[1].split(",")] if key else [letter.field] if letter.field else []
    own = _schema_fields(loaded, letter.data_type)
    found = [_field(loaded.mappings, own, letter, name) for name in names]
    return tuple(dict.fromkeys(found))


def _schema_fields(loaded: LoadedMap, data_type: str) -> list[str]:
    try:
        return [field.name for field in loaded.schema(data_type).fields]
    except (SchemaError, KeyError):
        return []


def _field(rows: Sequence[FieldMapping], own: Sequence[str], letter: Refused, name: str) -> FieldNames:
    into = [
        (row.target_field, row.source_field)
        for row in rows
        if letter.flow
        and row.source_system == CANONICAL
        and row.target_system == letter.system
        and row.source_field.partition(".")[0] == letter.data_type
    ]
    if not into and letter.flow:  # without a mapping each field goes under its own name
        into = [(each, f"{letter.data_type}.{each}") for each in own]
    by_target = [(target, source) for target, source in into if _last(target) == name or target == name]
    by_canonical = [(target, source) for target, source in into if _inside(source) == name.partition("[")[0]]
    # A constraint's own name is made of table, column and kind, such as debtors_zip_check.
    by_part = [(target, source) for target, source in into if f"_{_last(target)}_" in f"_{name}_"]
    target, canonical = next(iter(by_target or by_canonical or by_part), ("", f"{letter.data_type}.{name}"))
    owner = next(
        (row.source_field for row in rows if row.target_system == CANONICAL and row.target_field == canonical), ""
    )
    if not target and not owner:
        return FieldNames(name, "", "") if letter.flow else FieldNames("", name, "")
    return FieldNames(_last(target), _inside(canonical), _last(owner))


def _named(fields: Sequence[FieldNames], letter: Refused, source: str) -> tuple[str, str]:
    """The fields as a sentence has them, and as their owner calls them."""
    if not fields:
        return "a value of the record", "it"
    ours = " and ".join(dict.fromkeys(each.target or each.canonical or each.owner for each in fields))
    theirs = " and ".join(dict.fromkeys(each.owner or each.canonical or each.target for each in fields))
    aside = f" ({theirs} in {source})" if theirs != ours and letter.flow else ""
    return f"{ours}{aside}", theirs


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _inside(path: str) -> str:
    return path.partition(".")[2]
