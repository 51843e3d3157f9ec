"""Questions on a terminal, each with a default answer; or all defaults, without asking."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.prompt import Confirm, Prompt


class Questions:
    """Asks on `console`; with `take_defaults` it returns the defaults without asking."""

    def __init__(self, console: Console, *, take_defaults: bool) -> None:
        self.console = console
        self.take_defaults = take_defaults

    def say(self, text: str) -> None:
        """Prints a line between questions (rich markup)."""
        if not self.take_defaults:
            self.console.print(text, highlight=False)

    def text(self, question: str, default: str = "", *, check: Callable[[str], str | None] | None = None) -> str:
        """One line. `check` returns what is wrong with an answer, and the question is repeated; "" is allowed."""
        if self.take_defaults:
            return default
        while True:
            offered = default or None
            answer = (
                Prompt.ask(question, console=self.console, default=offered, show_default=bool(default)) or ""
            ).strip()
            wrong = check(answer) if check else None
            if wrong is None:
                return answer
            self.console.print(f"[yellow]{wrong}[/]", highlight=False)

    def secret(self, question: str) -> str:
        """One line, not echoed; "" is allowed."""
        return "" if self.take_defaults else Prompt.ask(question, console=self.console, password=True).strip()

    def several(self, question: str, default: Sequence[str], known: Sequence[str]) -> list[str]:
        """Names from `known`, separated by commas; "-" or nothing for none."""

        def check(answer: str) -> str | None:
            wrong = [name for name in _names(answer) if name not in known]
            return f"{', '.join(wrong)}: not one of {', '.join(known)}" if wrong else None

        return list(dict.fromkeys(_names(self.text(question, ", ".join(default) or "-", check=check))))

    def one(self, question: str, default: str, known: Sequence[str]) -> str:
        """One of `known`."""
        if self.take_defaults or len(known) == 1:
            return default
        return Prompt.ask(question, console=self.console, choices=list(known), default=default)

    def yes(self, question: str, default: bool) -> bool:
        """Yes or no."""
        return default if self.take_defaults else Confirm.ask(question, console=self.console, default=default)


def as_name(text: str) -> str:
    """A tool's name as a map key: `Price Book (old)` is price_book_old."""
    folded = re.sub(r"[^a-z0-9-]+", "_", text.strip().lower()).strip("_-")
    return re.sub(r"^[^a-z]+", "", folded)[:63]


def _names(answer: str) -> list[str]:
    return [name for part in answer.split(",") if (name := part.strip()) and name != "-"]
