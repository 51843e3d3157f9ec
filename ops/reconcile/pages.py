"""Differences in the console: what was compared when, which records differ and why, and healing them."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.errors import TransientError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.page_context import console_of, done, form_of, needs, person_of, refused, render
from sorbus.ops.reconcile.counts import KINDS
from sorbus.ops.reconcile.heal import HealPlan, heal, in_words, plan_heal
from sorbus.ops.reconcile.reasons import shown
from sorbus.ops.reconcile.store import ReconcileStore, StoredRun

_MOST = 500


def show_all(request: Request) -> Response:
    """Each flow's last reconciliation, and the open differences; ?flow=NAME: only that flow's."""
    console, flow = console_of(request), request.query_params.get("flow", "")
    store = ReconcileStore(console.state)
    last: dict[str, StoredRun] = {}
    for run in store.runs(flow or None, most=500):
        last.setdefault(run.flow, run)
    found = store.differences(flow or None, most=_MOST)
    names = [each.id for each in console.loaded.map.flows if each.runs and flow in ("", each.id)]
    return render(
        request,
        "reconcile/list.html",
        flow=flow,
        flows=names,
        last=last,
        counts=store.open_counts(),
        kinds=KINDS,
        found=found,
        most=_MOST,
        shown=shown,
        may_act=bool(flow) and person_of(request).may(Role.operator),
    )


def show_plan(request: Request) -> Response:
    """What healing a flow would do, record by record."""
    loaded, plan = console_of(request).loaded, _plan(request)
    flow = loaded.flow(plan.flow)
    owner = loaded.map.owner_of(flow.flow.data_type)
    lines = [(one.id, in_words(one, owner, flow.flow.to)) for one in plan.records[:_MOST]]
    return render(
        request,
        "reconcile/heal.html",
        plan=plan,
        lines=lines,
        owner=owner,
        may_act=person_of(request).may(Role.operator),
    )


@needs(Role.operator)
def heal_flow(request: Request) -> Response:
    """Sends the owner's state of the flow's differing records again."""
    console, plan = console_of(request), _plan(request)
    here = f"/differences/{plan.flow}/heal"
    if plan.needs_consent and form_of(request).get("consent") != "yes":
        return refused(
            request, here, f"That is {plan.share:.1%} of the flow's records: tick that you have checked them."
        )
    if not plan.records:
        return refused(request, here, "Nothing can be healed here.")
    loaded = console.loaded
    flow = loaded.flow(plan.flow)
    owner = loaded.map.owner_of(flow.flow.data_type)
    try:
        heal(plan, flow, owner, console.settings, console.state, person_of(request).name)
    except TransientError as error:
        return refused(request, here, str(error))
    count = len(plan.records)
    said = (
        f"{count:,} record{'s are' if count != 1 else ' is'} sent again. The next comparison shows whether they agree."
    )
    return done(request, f"/differences?flow={plan.flow}", said)


def _plan(request: Request) -> HealPlan:
    console, name = console_of(request), request.path_params["flow"]
    flow = _flow(console.loaded, name)
    store = ReconcileStore(console.state)
    last = next(iter(store.runs(name, whole=True, most=1)), None)
    records = max(last.owner_records or 0, last.target_records or 0) if last else 0
    found = sum(last.counts.values()) if last else 0
    return plan_heal(console.loaded.flow(flow), store.differences(name, most=1_000_000), records, found)


def _flow(loaded: LoadedMap, name: str) -> str:
    if not any(flow.id == name and flow.runs for flow in loaded.map.flows):
        raise HTTPException(404, f"no flow {name} runs")
    return name


routes = [
    Route("/differences", show_all, methods=["GET"], name="differences"),
    Route("/differences/{flow}/heal", show_plan, methods=["GET"]),
    Route("/differences/{flow}/heal", heal_flow, methods=["POST"]),
]
