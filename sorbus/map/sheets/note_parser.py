"""Parses transformation notes ("uppercase, trim", "UK date dd/mm/yyyy") into mapping rules.

A note is understood completely or not at all: a rule for half of a note would be silently wrong.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from sorbus.mapping.assign import Lookups
from sorbus.mapping.rule import RuleError, compile_rule
from sorbus.spelling import near


class Understood(NamedTuple):
    """A note as a rule ("" for a plain copy). `why` says what was assumed; `fields` are the columns it names."""

    rule: str
    confidence: float
    why: str = ""
    fields: tuple[str, ...] = ()


class _Step(NamedTuple):
    note: re.Pattern[str]
    rule: str
    sure: float
    why: str


_LONGEST = 300
_AS_IT_IS = re.compile(
    r"-+|n/?a|none|no( change|thing)?|(no|without) (change|transformation|conversion)s?( needed| required)?"
    r"|same( value)?|as[- ]is|direct(ly)?( (map(ping)?|copy|move|1:1))?|copy( as is| over)?|move|pass[- ]?through"
    r"|(straight|simple|plain)( through)?( (copy|map(ping)?))?|(one|1)[ :-]*(to[ -])?[:-]?(one|1)( map(ping)?)?"
    r"|unchanged"
)
_SPLIT = re.compile(r"\s*(?:[;\n]|,(?=\s)|\bthen\b|\band then\b|\band\b|&|\+)\s*", re.IGNORECASE)
_PIECES: Mapping[str, str] = {
    "d": "%d", "dd": "%d", "m": "%m", "mm": "%m", "mmm": "%b", "mon": "%b", "mmmm": "%B", "yy": "%y", "yyyy": "%Y",
}  # fmt: skip
_PIECE = r"(?:d{1,2}|m{1,4}|mon|yy(?:yy)?)"
_VALUE = r"""(?:"(?P<{0}1>[^"]*)"|'(?P<{0}2>[^']*)'|“(?P<{0}3>[^”]*)”|(?P<{0}4>[^\s"',;]+))"""
_STANDS_FOR: Mapping[str, str] = {
    "DO": r"(?:please |must be |should be |to be |is |convert(?:ed)? (?:it )?(?:to|into) |make (?:it )?|change to "
    r"|set to |in |to |all )*",
    "DATE": rf"(?P<date>{_PIECE}(?:[-/. ]?{_PIECE}){{2}})",
    "LENGTH": r"(?P<number>\d{1,4})",
    "PLACES": r"(?P<number>\d)",
    "NUMBER": r"(?P<number>\d{1,9}(?:\.\d{1,9})?)",
    "TEXT": _VALUE.format("text"),
    "OTHER": _VALUE.format("other"),
}
_CONSTANT = re.compile(
    r"(?:always|constant|const|fixed(?: value)?|hard-?coded?(?: value)?|literal|set to)(?: (?:to|as|is|value))?"
    rf"\s?[:=]?\s?{_STANDS_FOR['TEXT']}",
    re.IGNORECASE,
)
_LOOKUP = re.compile(
    r"(?:use |see |via |by |from |in |translated? (?:with|by|via) |map(?:ped)? (?:with|by|via|using) )*(?:the )?"
    r"(?:look[- ]?up|mapping table|value map|translation)(?: table)?(?: in| from| for| by| via| using|:)?(?: the)? ?"
    r"(?P<after>[\w -]+?)(?: (?:table|list|codes?|values))?"
    r"|(?:use |see |via )?(?:the )?(?P<before>[\w -]+?) (?:look[- ]?up(?: table)?|mapping table|value map)",
    re.IGNORECASE,
)
_CONCAT = re.compile(
    r"(?:concat(?:enate)?|combine|join|merge|append|put together)(?: of)?(?: the)?(?: fields?)?[ :(]+(?P<fields>.+?)\)?"
    r"(?:,? (?:with|separated by|using|by) (?:an? )?(?P<joint>space|blank|comma|dash|hyphen|slash)s?)?",
    re.IGNORECASE,
)
_JOINTS = {"space": " ", "blank": " ", "comma": ", ", "dash": "-", "hyphen": "-", "slash": "/"}


@cache
def _steps() -> Sequence[_Step]:
    written = tomllib.loads((files("sorbus.map.sheets") / "note_parser.toml").read_text("utf-8"))
    found = []
    for each in written["step"]:
        pattern = re.sub("|".join(_STANDS_FOR), lambda name: _STANDS_FOR[name[0]], each["note"].replace("\n", ""))
        note = re.compile(f"(?:{pattern})[.!]?", re.IGNORECASE)
        found.append(_Step(note, each["rule"], each["sure"], each.get("why", "")))
    return found


def _filled(step: _Step, found: re.Match[str]) -> str:
    """The step's rule with the note's values."""
    groups = {name: text for name, text in found.groupdict().items() if text is not None}
    text, other = (next((groups[f"{name}{n}"] for n in range(1, 5) if f"{name}{n}" in groups), "") for name in _TWO)
    date = re.sub("d+|mon|m+|y+", lambda piece: _PIECES[piece[0]], groups.get("date", "").lower())
    return step.rule.format(
        text=_quoted(text), other=_quoted(other), value=_value(text), date=date, number=groups.get("number", "")
    )


_TWO = ("text", "other")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _value(text: str) -> str:
    """A value in a rule's syntax: numbers bare, everything else in quotes."""
    return text if re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.\d{1,9})?", text, re.ASCII) else _quoted(text)


def understand(note: str, lookups: Lookups) -> Understood | None:
    """A note as a rule; None if any part of it isn't understood. `lookups` are the map's tables."""
    text = " ".join(note.split()).strip(" .")
    if not text or _AS_IT_IS.fullmatch(text.lower()):
        return Understood("", 1.0)
    if len(text) > _LONGEST:
        return None
    if found := _CONSTANT.fullmatch(text):
        return Understood(_value(_constant(found)), 0.85, "a constant")
    if (found := _CONCAT.fullmatch(text)) and (together := _concatenated(found)):
        return together
    if (whole := _step(text, lookups)) is not None:
        return _pipeline([whole])
    steps = [_step(part, lookups) for part in _SPLIT.split(text) if part]
    if steps and all(step is not None for step in steps):
        return _pipeline([step for step in steps if step is not None])
    if _is_rule(note, lookups):
        return Understood(note.strip(), 1.0, "a rule already")
    return None


def _constant(found: re.Match[str]) -> str:
    return next((text for text in found.groups() if text is not None), "")


def _step(text: str, lookups: Lookups) -> tuple[str, float, str] | None:
    if found := _LOOKUP.fullmatch(text):
        return _looked_up((found["after"] or found["before"] or "").strip(), lookups)
    for step in _steps():
        if found := step.note.fullmatch(text):
            return _filled(step, found), step.sure, step.why
    return None


def _looked_up(name: str, lookups: Lookups) -> tuple[str, float, str] | None:
    folded = name.lower().replace(" ", "_")
    for table in lookups:
        if table.lower() in (folded, folded.removesuffix("s"), f"{folded}s"):
            return f'| lookup("{table}")', 0.9, ""
    ends = [table for table in lookups if table.lower().endswith(f"_{folded}")]
    if table := ends[0] if len(ends) == 1 else near(folded, lookups):
        return f'| lookup("{table}")', 0.6, f"the lookup table {table}"
    return None


def _concatenated(found: re.Match[str]) -> Understood | None:
    joint = _JOINTS[(found["joint"] or "space").lower()]
    fields = tuple(
        part.strip(" \"'") for part in re.split(r"\s*(?:,|\+|&|\band\b|\bwith\b)\s*", found[1]) if part.strip()
    )
    if len(fields) < 2 or not all(re.fullmatch(r"[\w .-]+", field) for field in fields):
        return None
    return Understood("", 0.75, f"joined by {_quoted(joint)}", fields)


def concatenation(fields: Sequence[str], why: str) -> str:
    """The rule that concatenates columns; `why` is the parsed note's."""
    joint = why.removeprefix("joined by ")
    return f" ~ {joint} ~ ".join(f"record.{field}" for field in fields)


def _pipeline(steps: Sequence[tuple[str, float, str]]) -> Understood:
    rule = "value"
    for text, _, _ in steps:
        rule = f"({rule}) {text}" if text[0] == "|" and not re.fullmatch(r"value( \|.*)?", rule) else f"{rule} {text}"
        if text[0] in "/*" and "|" in rule:
            rule = f"({rule.removesuffix(f' {text}')}) {text}"
    why = "; ".join(filter(None, (why for _, _, why in steps)))
    return Understood(rule, min(confidence for _, confidence, _ in steps), why)


def _is_rule(text: str, lookups: Mapping[str, Mapping[str, str]]) -> bool:
    try:
        rule = compile_rule(text.strip(), lookups=lookups)
    except RuleError:
        return False
    return rule.uses_value or bool(rule.uses) or text.strip()[:1] in "\"'"
