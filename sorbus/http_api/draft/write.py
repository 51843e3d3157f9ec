"""A draft as the text of a YAML file: each guess is a comment above its line."""

from __future__ import annotations

from io import StringIO
from textwrap import wrap

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from sorbus.http_api.draft.notes import Draft

_WIDTH = 110
_HEAD = """\
# yaml-language-server: $schema=api.schema.json
# A draft by `sorbus api new`. Each "guess:" says why a value is here and what to check; remove it when you have. What
# begins with TODO is missing: `sorbus api check` refuses the file until nothing does.
"""


def write_draft(draft: Draft, source: str) -> str:
    """The file's text; `source` says from what it was made."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump(_Writer(draft).commented(draft.data, ""), out)
    missing = (f"not in it: {each}" for each in notes_without_a_line(draft))
    left = "".join(f"# {line}\n" for each in (*missing, *draft.left_out) for line in wrap(each, _WIDTH))
    return f"{_HEAD}# Made from {source}.\n{left}\n{out.getvalue()}"


class _Writer:
    """Turns data into what ruamel writes with comments. The same object in two places is an anchor and an alias."""

    def __init__(self, draft: Draft) -> None:
        self.guesses = draft.guesses
        self.made: dict[int, CommentedMap] = {}

    def commented(self, value: JsonValue, place: str, depth: int = 0) -> object:
        """A part of the draft with its guesses as comments."""
        if isinstance(value, list):
            listed = CommentedSeq([self.commented(each, f"{place}[]", depth + 1) for each in value])
            if all(not isinstance(each, dict) for each in value):
                listed.fa.set_flow_style()
            return listed
        if not isinstance(value, dict):
            return value
        if value and id(value) in self.made:
            self.made[id(value)].yaml_set_anchor("_".join([*place.split(".")[1:2], "pages"]), always_dump=True)
            return self.made[id(value)]
        made = self.made[id(value)] = CommentedMap()
        for key, inner in value.items():
            path = f"{place}.{key}" if place else str(key)
            made[key] = self.commented(inner, path, depth + 1)
            guess = self.guesses.get(path)
            if guess is not None and not guess.is_todo:
                lines = wrap(f"guess: {guess.why}", max(40, _WIDTH - 2 * depth))
                made.yaml_set_comment_before_after_key(key, before="\n".join(lines), indent=2 * depth)
        has_guesses = any(key.startswith(f"{place}.") for key in self.guesses) if place else True
        if not has_guesses and depth > 1 and _is_short(value):
            made.fa.set_flow_style()
        return made


def _is_short(value: JsonValue) -> bool:
    return len(str(value)) < _WIDTH


def notes_without_a_line(draft: Draft) -> list[str]:
    """Guesses about something that isn't in the file, such as missing limits."""
    return [f"{guess.place}: {guess.why}" for guess in draft.guesses.values() if not _has(draft.data, guess.place)]


def _has(data: JsonValue, place: str) -> bool:
    for key in place.split("."):
        if not isinstance(data, dict):
            return False
        data = data.get(key)
    return data is not None
