"""What a map says of a tap, and of a data type that one of its streams brings."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    model_validator,
)

from sorbus.mapping.filters.moment import zone
from sorbus.timing.schedule import parse_timing

Replication = Literal["FULL_TABLE", "INCREMENTAL", "LOG_BASED"]
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9,._-]+\])?==(?P<version>[A-Za-z0-9.!+_-]+)")


def _every(text: str) -> str:
    if parse_timing(text).every is None:
        raise ValueError(f"{text!r}: write every 15m (s, m, h or d)")
    return text


def _duration(text: str) -> str:
    _every(f"every {text}")
    return text


def _pinned(text: str) -> str:
    if _PINNED.fullmatch(text) is None:
        raise ValueError(f"{text!r}: write the package with its exact version, such as tap-github==1.2.3")
    return text


def _zone(name: str) -> str:
    if name:
        zone(name)
    return name


def _listed(given: object) -> object:
    return [given] if isinstance(given, str) else given


Pinned = Annotated[str, AfterValidator(_pinned)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class SingerConnection(BaseModel):
    """Which tap reads the system, and how it is started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    package: Pinned | None = Field(
        default=None,
        description="The tap's package on PyPI with its exact version, tap-github==1.2.3: Sorbus installs it in a"
        " virtual environment of its own, from the index that pip is configured for.",
    )
    also: tuple[Pinned, ...] = Field(default=(), description="Packages that the tap needs besides, such as a driver.")
    command: Names = Field(
        default=(), description="A tap that is installed already, instead of `package`: its path, and arguments."
    )
    executable: str = Field(default="", description="Which command of the package, where it has several.")
    python: str = Field(default="", description="Python for the tap, such as python3.11; default: Sorbus's own.")
    config: dict[str, JsonValue] = Field(
        default={},
        repr=False,
        description="The tap's own settings, as its documentation names them; secrets as ${NAME}.",
    )
    environment: dict[str, SecretStr] = Field(default={}, description="Environment variables for the tap.")
    catalog: Literal["--catalog", "--properties", "none"] = Field(
        default="--catalog",
        description="How the tap takes its catalog; none: it can't list its streams (`--discover`).",
    )
    every: Annotated[str, AfterValidator(_every)] = Field(
        default="every 15m", description="How long after a run the next one begins: every 15m (s, m, h or d)."
    )
    idle_limit: Annotated[str, AfterValidator(_duration)] = Field(
        default="30m", description="A tap that writes no line for so long is stopped, and started again."
    )

    @model_validator(mode="after")
    def _one_tap(self) -> SingerConnection:
        if bool(self.package) == bool(self.command):
            raise ValueError("say either `package: tap-NAME==VERSION`, or `command:` of a tap that is installed")
        return self

    @property
    def name(self) -> str:
        """The tap, without its version."""
        found = _PINNED.fullmatch(self.package or "")
        return found["name"].lower().replace("_", "-") if found else " ".join(self.command)

    @property
    def seconds(self) -> float:
        """From the end of a run to the next."""
        return _seconds(self.every)

    @property
    def idle_seconds(self) -> float:
        """Without a line."""
        return _seconds(f"every {self.idle_limit}")


def _seconds(timing: str) -> float:
    period = parse_timing(timing).every
    assert period is not None
    return period.total_seconds()


class SingerSource(BaseModel):
    """Which of the tap's streams a data type's records come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field(min_length=1, description="The stream, as `sorbus discover` lists it.")
    key: Names = Field(
        default=(), description="The fields that identify a record; default: the stream's own key (key_properties)."
    )
    replication: Replication | None = Field(
        default=None,
        description="FULL_TABLE: every run brings all records; INCREMENTAL: those with a newer replication_key;"
        " LOG_BASED: changes from the database's log; default: the tap decides.",
    )
    replication_key: str = Field(default="", description="The field that grows with each change, for INCREMENTAL.")
    removed_records: Literal["keep", "delete"] = Field(
        default="keep",
        description="What it means when a run that brings all records lacks one: nothing, or that it is deleted.",
    )
    max_deletes: int | None = Field(
        default=None,
        ge=0,
        description="Most records that may be missing at once before a person has to confirm that they are deleted"
        " (`sorbus drift`); default: a tenth of all, at least 2.",
    )
    absent_fields: Literal["empty", "reject"] | None = Field(
        default=None,
        description="What a mapped field means that a record leaves out: no value, or a dead letter; default: reject"
        " with LOG_BASED, where it may be unchanged, otherwise empty.",
    )
    lists: dict[str, str] = Field(
        default={}, description="List field -> the list inside the record: lines: line_items."
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="", description="Of points in time that the tap writes without an offset, such as UTC."
    )

    @model_validator(mode="after")
    def _fits(self) -> SingerSource:
        if self.replication_key and self.replication not in (None, "INCREMENTAL"):
            raise ValueError("replication_key is for `replication: INCREMENTAL`")
        if self.removed_records == "delete" and self.replication not in (None, "FULL_TABLE"):
            raise ValueError(
                f"removed_records: delete needs all records in every run, which {self.replication} doesn't bring: write"
                " `replication: FULL_TABLE`, or leave removed_records out"
            )
        return self

    @property
    def resources(self) -> dict[str, str]:
        """Which resource holds which part, as mapping sheets name them."""
        return {"": self.stream, **{name: f"{self.stream}.{inside}" for name, inside in self.lists.items()}}
