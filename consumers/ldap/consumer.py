"""The consumer of a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.connector import BoundFlow, BoundSystem, Step
from sorbus.consumers.http.adopt import links_step, refused_step
from sorbus.consumers.http.api_consumer import ApiConsumer
from sorbus.consumers.http.plan import described_findings
from sorbus.consumers.http.shape import Shape
from sorbus.consumers.ldap.entries import FlowEntries, by_type
from sorbus.consumers.ldap.options import LdapTarget
from sorbus.consumers.ldap.shape import EntryShape
from sorbus.diagnosis import Diagnosis
from sorbus.dry_run import DryRunReads
from sorbus.errors import MapError
from sorbus.http_api.description import Description
from sorbus.http_api.interface import Api
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.directory_of import account_of, connection_of, directory_of
from sorbus.ldap.discovery import diagnose_directory, discover_entries
from sorbus.ldap.entry_api import EntryApi
from sorbus.ldap.entry_writer import EntryWriter
from sorbus.ldap.session import Directory
from sorbus.settings import Settings
from sorbus.state.database import State, plan_state


class LdapConsumer(ApiConsumer):
    """Delivers one flow into the entries of one object class."""

    Connection: type[BaseModel] = LdapConnection
    Target: type[BaseModel] = LdapTarget

    def __init__(self, flow: BoundFlow, state: State | None = None) -> None:
        """MapError for a template that can't work."""
        self._made = FlowEntries(flow)
        if findings := list(self._made.findings()):
            raise MapError(findings)
        super().__init__(_delivered(flow), state)
        self._directory: Directory | None = None
        self._api: EntryApi | None = None

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """The state. MapError for what the flow names and the directory hasn't got. TransientError, AuthError."""
        made = FlowEntries(flow)
        with closing(directory_of(flow.system)) as directory:
            findings = [*made.findings(directory.schema)]
        delivered = _delivered(flow)
        shape = EntryShape(delivered, made.description, by_type(made.options.references))
        findings += described_findings(delivered, made.description, shape)
        if findings:
            raise MapError(findings)
        steps = plan_state(dsn := Settings().database, flow.system.topic_prefix)
        if steps:
            return steps
        with closing(State(dsn, flow.system.topic_prefix)) as state:
            account = cls.account_of(flow.system)
            return [*links_step(state, delivered), *refused_step(state, delivered, account)]

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The object class."""
        assert isinstance(options, LdapTarget)
        return {"": options.resource}

    @classmethod
    def fills(cls, options: BaseModel) -> dict[str, frozenset[str]]:
        """The attribute that holds our id, where the flow names one."""
        assert isinstance(options, LdapTarget)
        return {"": frozenset({options.marker} if options.marker else ())}

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """The object classes that have entries."""
        return discover_entries(system)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """Whether it can be reached and read, and what it can do."""
        return diagnose_directory(system)

    @classmethod
    def location(cls, system: BoundSystem, *, ask: bool = False) -> str | None:  # noqa: ARG003 - the interface's
        """Server and base."""
        options = connection_of(system)
        return f"{options.host}:{options.port}/{options.base}".lower()

    @classmethod
    def account_of(cls, system: BoundSystem) -> str:
        """The base, and the attribute that identifies entries."""
        return account_of(system)

    def _describe(self) -> Description:
        return self._made.description

    def _shape(self, description: Description) -> Shape:
        return EntryShape(self._flow, description, by_type(self._made.options.references))

    def _connect(self, reads: DryRunReads, *, is_dry: bool) -> Api:  # noqa: ARG002 - a directory has no rate limit
        self._directory = directory = directory_of(self._flow.system)
        entries = self._made.entries
        writer = EntryWriter(
            directory,
            entries,
            self._made.classes,
            self._made.options.dn,
            is_ours=lambda identity: bool(self._crosswalk.owners_of([identity])),
        )
        self._api = EntryApi(directory, entries, writer)
        return self._api

    def _disconnect(self) -> None:
        if self._api is not None:
            self._api.close()
        if self._directory is not None:
            self._directory.close()
        self._api = self._directory = None


def _delivered(flow: BoundFlow) -> BoundFlow:
    assert isinstance(flow.options, LdapTarget)
    return replace(flow, options=flow.options.delivered())
