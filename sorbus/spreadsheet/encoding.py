"""Which encoding a text file is in: proven by its bytes, said by the map, or a question; never a guess."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from sorbus.errors import TransientError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "cp850", "cp852")
"""Those that office programs have written. The first is taken where every letter is the same in all others that fit."""
_NAMES = {
    "cp1252": "Western European", "cp1250": "Central European", "cp1251": "Cyrillic", "cp1253": "Greek",
    "cp1254": "Turkish", "mac_roman": "Macintosh", "cp850": "DOS", "cp852": "DOS",
}  # fmt: skip
_SIGNS = frozenset("€£¥¢§°²³µ·«»–—‘’“”„‚…•©®™´¡¿ªº¼½¾×±¶†‡‰‹›¹\xa0\xad")
_IN_WORDS = frozenset("’‘´·\xad")
_BLOCK = 1 << 20


def find_encoding(path: Path) -> str:
    """Python's name of the file's encoding. TransientError where its bytes leave a doubt; OSError."""
    with path.open("rb") as opened:
        head = opened.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if _is_utf8(path):
        return "utf-8"
    words = _Words()
    for word in _odd_words(path):
        words.add(word)
    readings = words.readings(_ENCODINGS)
    if not readings:
        raise TransientError(
            f"{path.name} is in no encoding that Sorbus recognises: save it as CSV UTF-8, or say which one it is with"
            " `encoding:` under the data type's `source:`"
        )
    example = words.difference(readings)
    if example is None and readings[0] == _ENCODINGS[0]:
        return readings[0]
    example = example or {readings[0]: words.letter(readings[0])}
    said = ", ".join(f"“{letter}” ({name}, {_NAMES[name]})" for name, letter in example.items())
    raise TransientError(
        f"{path.name} doesn't say its encoding, and a letter in it may be {said}: save it as CSV UTF-8, or write"
        f" `encoding: {next(iter(example))}` (or the right one) under the data type's `source:`"
    )


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in _blocks(path):
            if b"\0" in block:
                raise TransientError(
                    f"{path.name} is no text file, whatever its name says: export it as CSV UTF-8, or say its encoding"
                    " with `encoding:` under the data type's `source:`"
                )
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            yield block


def _odd_words(path: Path) -> Iterator[bytes]:
    """Each different word that has a byte beyond ASCII."""
    seen: set[bytes] = set()
    with path.open("rb") as opened:
        while line := opened.readline(_BLOCK):
            if line.isascii():
                continue
            for word in line.replace(b";", b" ").replace(b",", b" ").replace(b'"', b" ").split():
                if not word.isascii() and word not in seen and len(seen) < 100_000:
                    seen.add(word)
                    yield word


class _Words:
    """The words of a file, and how each encoding reads them."""

    def __init__(self) -> None:
        self._words: list[bytes] = []

    def add(self, word: bytes) -> None:
        self._words.append(word)

    def readings(self, encodings: tuple[str, ...]) -> list[str]:
        """The encodings under which every word looks like one."""
        return [name for name in encodings if all(_is_plausible(word, name) for word in self._words)]

    def difference(self, encodings: list[str]) -> dict[str, str] | None:
        """A letter that encodings read differently: encoding -> letter; None: they all agree."""
        for word in self._words:
            for byte in sorted({byte for byte in word if byte >= 128}):
                letters: dict[str, str] = {}
                for name in encodings:
                    letter = bytes([byte]).decode(name)
                    if letter not in letters.values():
                        letters[name] = letter
                if len(letters) > 1:
                    return letters
        return None

    def letter(self, encoding: str) -> str:
        """A letter beyond ASCII, as it is read."""
        return next(char for char in self._words[0].decode(encoding) if ord(char) >= 128)


def _is_plausible(word: bytes, encoding: str) -> bool:
    try:
        text = word.decode(encoding)
    except UnicodeDecodeError:
        return False
    before = ""
    for place, char in enumerate(text):
        after = text[place + 1 : place + 2]
        if ord(char) >= 128:
            if char.isalpha():
                if _is_other_script(char, before) or _is_other_script(char, after):
                    return False
                if char.isupper() and before.isalpha() and (before.islower() or after.islower()):
                    return False
            elif char not in _SIGNS or (char not in _IN_WORDS and before.isalpha() and after.isalpha()):
                return False
        elif char.isupper() and before.islower() and ord(before) >= 128:
            return False
        before = char
    return True


def _is_other_script(one: str, other: str) -> bool:
    """Greek or Cyrillic beside Latin letters."""
    return other.isalpha() and ("\u0370" <= one <= "\u052f") != ("\u0370" <= other <= "\u052f")
