"""The consumer of an application behind HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.connector import BoundFlow, BoundSystem, Step
from sorbus.consumers.http.api_consumer import ApiConsumer
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.plan import discover_resources, plan_flow
from sorbus.consumers.http.shape import resource_names
from sorbus.diagnosis import Diagnosis
from sorbus.dry_run import DryRunReads
from sorbus.http_api.connection import HttpConnection, application, identity_of
from sorbus.http_api.description import Description
from sorbus.http_api.diagnose import diagnose_application
from sorbus.http_api.interface import Api
from sorbus.http_api.records import open_api
from sorbus.http_api.silence import can_be_silent
from sorbus.http_api.transport import HttpTransport
from sorbus.state.database import State

_PATIENCE = 4.0
"""Seconds that a record waits for the rate limit where it is; longer waits are the whole batch's."""
_BACKGROUND_PATIENCE = 120.0
"""The same in a dry run, which gives way to deliveries."""


class HttpConsumer(ApiConsumer):
    """Delivers one flow into one resource of an application behind HTTP."""

    Connection: type[BaseModel] = HttpConnection
    Target: type[BaseModel] = HttpTarget
    shares_process = True

    def __init__(self, flow: BoundFlow, state: State | None = None) -> None:
        super().__init__(flow, state)
        self._transport: HttpTransport | None = None

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """What has to be made in Sorbus's own state; MapError for what the application's description doesn't have."""
        return plan_flow(flow)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the application's server is, before any login."""
        return diagnose_application(system)

    @classmethod
    def can_be_silent(cls, flow: BoundFlow) -> bool:
        """Whether the flow wants it, and the application's description says how."""
        assert isinstance(flow.options, HttpTarget)
        if flow.flow.notify == "always":
            return False
        return can_be_silent(application(flow.system).description, flow.options.resource)

    @classmethod
    def describe(cls, system: BoundSystem) -> list[Resource]:
        """What the application's description says it holds. MapError."""
        return discover_resources(system)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """The same: an application isn't asked for what it could hold."""
        return discover_resources(system)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The resource, and RESOURCE.LIST for each list field."""
        assert isinstance(options, HttpTarget)
        return resource_names(options)

    @classmethod
    def fills(cls, options: BaseModel) -> dict[str, frozenset[str]]:
        """The field that holds our id, where the flow names one."""
        assert isinstance(options, HttpTarget)
        return {"": frozenset({options.marker} if options.marker else ())}

    @classmethod
    def account_of(cls, system: BoundSystem) -> str:
        """The address, and the settings that aren't secret."""
        return identity_of(application(system))

    def _describe(self) -> Description:
        return application(self._flow.system).description

    def _connect(self, reads: DryRunReads, *, is_dry: bool) -> Api:
        flow = self._flow
        self._transport = HttpTransport(
            application(flow.system),
            self._state,
            flow=f"{flow.flow.id} (dry run)" if is_dry else flow.flow.id,
            patience=_BACKGROUND_PATIENCE if is_dry else _PATIENCE,
            background=is_dry,
            before_request=reads.before_request,
        )
        return open_api(self._transport)

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None
