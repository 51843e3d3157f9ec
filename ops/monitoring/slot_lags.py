"""What the watch asks of whoever asks the sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SlotLags(Protocol):
    """Who knows what each source holds back, in bytes: None where it can't be asked, nothing where nothing is held.

    `away`: since when (seconds since 1970), and why, a source can't be asked.
    """

    @property
    def away(self) -> Mapping[str, tuple[float, str]]: ...
    @property
    def standbys(self) -> Mapping[str, tuple[str, ...]]:
        """System with known standbys -> why they could not take over."""

    @property
    def refused(self) -> Mapping[str, float]:
        """System that refused the login, and so isn't asked again -> when, in seconds since 1970."""

    def try_again(self, system: str) -> None:
        """Its login may be tried once more."""

    def __call__(self) -> Mapping[str, int | None]: ...
    def close(self) -> None: ...
