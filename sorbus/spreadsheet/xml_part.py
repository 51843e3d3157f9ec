"""A part of a workbook as a stream of XML elements, bounded in memory whatever it holds."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast
from xml.etree import ElementTree

from sorbus.errors import TransientError

_LONGEST_TAG = 1_000_000
"""Bytes without the beginning of a tag: more is no workbook, but an attack on our memory."""
_MOST_ELEMENTS = 200_000
"""In one row, or nested in each other: memory again."""
SAVE_AGAIN = "open it in Excel or LibreOffice and save it again as .xlsx"
"""What people can do about nearly everything that is wrong with a workbook."""


class XmlPart:
    """A part of the archive, as XML. Whatever is wrong with it is a TransientError."""

    def __init__(self, archive: zipfile.ZipFile, part: str, error: Callable[[str, str], TransientError]) -> None:
        self._archive, self._part, self._error = archive, part, error
        self._opened: IO[bytes] | None = None

    def __enter__(self) -> XmlPart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._opened is not None:
            self._opened.close()
        faults = (
            zipfile.BadZipFile, zlib.error, ElementTree.ParseError, EOFError, KeyError, ValueError, IndexError,
            ArithmeticError, NotImplementedError, OSError, UnicodeError,
        )  # fmt: skip
        if isinstance(error, faults):
            raise self._error(f"is cut off or damaged ({self._part})", SAVE_AGAIN) from error

    def elements(self, *names: str) -> Iterator[ElementTree.Element]:
        """Every element of these names when it is complete; what has been taken is forgotten."""
        self._opened = self._archive.open(self._part)
        parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(("start", "end"))
        stack: list[ElementTree.Element] = []
        inside = elements = silence = 0
        end = b""
        while chunk := self._opened.read(65_536):
            if b"<!DOCTYPE" in (end + chunk).replace(b"\0", b""):
                raise ValueError("declared entities")
            end = chunk[-20:]
            silence = 0 if b"<" in chunk else silence + len(chunk)
            if silence > _LONGEST_TAG:
                raise ValueError("an endless text")
            parser.feed(chunk)
            for event, element in cast("Iterable[tuple[str, ElementTree.Element]]", parser.read_events()):
                is_named = local_name(element) in names
                if event == "start":
                    stack.append(element)
                    inside += is_named
                    elements = elements + 1 if inside else len(stack)
                    if elements > _MOST_ELEMENTS:
                        raise ValueError("an endless row")
                    continue
                stack.pop()
                inside -= is_named
                if inside:
                    continue
                elements = 0
                if is_named:
                    yield element
                element.clear()
                if stack:
                    stack[-1].clear()
        parser.close()


def local_name(element: ElementTree.Element) -> str:
    """The name without its namespace."""
    return element.tag.rpartition("}")[2]
