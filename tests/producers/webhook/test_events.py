"""Events to notices: the shipped descriptions read what their vendors' documents show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.abilities import Notice
from sorbus.http_api.load import load_description
from sorbus.producers.webhook.events import WebhookEvent, read_events
from sorbus.producers.webhook.receivers import WebhookReceiver
from tests.producers.webhook.signed import webhooks

# developer.xero.com, "Webhooks: receiving events"; the second is another organisation's
XERO = {
    "events": [
        {
            "resourceUrl": "https://api.xero.com/api.xro/2.0/Contacts/717f2bfc-c6d4-41fd-b238-3f2f0c0cf777",
            "resourceId": "717f2bfc-c6d4-41fd-b238-3f2f0c0cf777",
            "eventDateUtc": "2017-06-21T01:15:39.902",
            "eventType": "UPDATE",
            "eventCategory": "CONTACT",
            "tenantId": "ours",
            "tenantType": "ORGANISATION",
        },
        {"resourceId": "1", "eventType": "UPDATE", "eventCategory": "CONTACT", "tenantId": "another"},
        {"resourceId": "2", "eventType": "CREATE", "eventCategory": "SUBSCRIPTION", "tenantId": "ours"},
    ],
    "firstEventSequence": 1,
    "lastEventSequence": 3,
    "entropy": "S0m3r4Nd0mt3xt",
}
# docs.stripe.com, "The Event object"
STRIPE = {
    "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",
    "object": "event",
    "api_version": "2019-02-19",
    "created": 1686089970,
    "data": {"object": {"id": "cus_9s6XKzkNRiz8i3", "object": "customer", "deleted": True}},
    "type": "customer.deleted",
}
# developers.hubspot.com, "Webhooks API"
HUBSPOT = [
    {
        "objectId": 1246965,
        "propertyName": "lifecyclestage",
        "propertyValue": "subscriber",
        "changeSource": "ACADEMY",
        "eventId": 3816279340,
        "subscriptionId": 25,
        "portalId": 33,
        "appId": 1160452,
        "occurredAt": 1462216307945,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
    },
    {"objectId": 7, "eventId": 3816279480, "portalId": 33, "subscriptionType": "company.deletion", "attemptNumber": 0},
]
# developer.intuit.com, "Understanding the data object"
QUICKBOOKS = [
    {
        "specversion": "1.0",
        "id": "5f1c0f0e-Customer-123",
        "type": "qbo.customer.merged.v1",
        "time": "2025-12-04T15:25:05Z",
        "intuitentityid": "123",
        "intuitaccountid": "33",
        "data": {"deletedid": "27"},
    }
]
# developer.zendesk.com, "Webhook event types: user events"
ZENDESK = {
    "account_id": 22129848,
    "detail": {"created_at": "2022-02-03T23:35:09Z", "email": "user@example.com", "id": "4513645187345"},
    "event": {},
    "id": "b7b0a3e8-6b5f-4a3e-8e4d-6f0a2b3c4d5e",
    "subject": "zen:user:4513645187345",
    "time": "2022-02-04T00:18:58Z",
    "type": "zen:event-type:user.deleted",
}

CASES: dict[str, tuple[Any, dict[str, str], list[Notice]]] = {
    "xero": (XERO, {"tenantId": "ours"}, [Notice("contacts", "717f2bfc-c6d4-41fd-b238-3f2f0c0cf777", False, 1)]),
    "stripe": (STRIPE, {}, [Notice("customers", "cus_9s6XKzkNRiz8i3", True, 1)]),
    "hubspot": (
        HUBSPOT,
        {"portalId": "33"},
        [Notice("contacts", "1246965", False, 1), Notice("companies", "7", True, 1)],
    ),
    "quickbooks": (QUICKBOOKS, {"intuitaccountid": "33"}, [Notice("customers", "123", False, 1)]),
    "zendesk": (ZENDESK, {}, [Notice("users", "4513645187345", True, 1)]),
}


@pytest.mark.parametrize("api", CASES)
def test_shipped_descriptions_read_their_vendors_own_examples(api: str) -> None:
    body, where, expected = CASES[api]
    description = load_description(api)
    assert description.webhooks is not None
    assert description.webhooks.event.where.keys() == where.keys()
    hearing = WebhookReceiver(api, description.webhooks, ("secret",), frozenset(description.resources), where)
    told = read_events(hearing, body, {}, 1)
    assert [one.notice for one in told if one.notice] == expected
    assert {one.why for one in told if one.notice is None} <= {"unmapped"}


def test_the_longest_beginning_decides_and_an_exact_type_before_it() -> None:
    resources = {"a*": "things", "a.b*": "parts", "a.b.c": "bolts"}
    found = [read(resources, {"type": kind, "id": "1"})[0].notice for kind in ("a", "a.x", "a.b.x", "a.b.c", "b")]
    assert [notice and notice.resource for notice in found] == ["things", "things", "parts", "bolts", None]


# Each from the vendor's documents: pipedrive.readme.io "Guide for webhooks v2", developer.atlassian.com "Webhooks",
# woocommerce.github.io "Webhooks" (the body is the record), support.freshdesk.com "Using webhooks in automation rules".
BY_HEADER = [
    ("pipedrive", {"meta": {"entity": "person", "action": "change", "entity_id": "7"}}, {}, ("persons", "7", False)),
    (
        "jira",
        {"webhookEvent": "jira:issue_deleted", "issue": {"id": "99291", "key": "JRA-20002"}},
        {},
        ("issues", "99291", True),
    ),
    ("woocommerce", {"id": 8, "status": "processing"}, {"x-wc-webhook-topic": "order.updated"}, ("orders", "8", False)),
    ("woocommerce", {"id": 25}, {"x-wc-webhook-topic": "customer.deleted"}, ("customers", "25", True)),
    ("freshdesk", {"ticket_id": 12}, {}, ("tickets", "12", False)),
]


@pytest.mark.parametrize(("api", "body", "headers", "expected"), BY_HEADER)
def test_newer_descriptions_read_their_vendors_events(
    api: str, body: Any, headers: dict[str, str], expected: tuple[str, str, bool]
) -> None:
    description = load_description(api)
    assert description.webhooks is not None
    hearing = WebhookReceiver(api, description.webhooks, ("secret",), frozenset(description.resources), {})
    assert [one.notice for one in read_events(hearing, body, headers, 1)] == [Notice(*expected, 1)]


def test_events_inside_lists_inside_lists_are_found() -> None:
    nested = {"groups": [{"of": {"events": [{"type": "a", "id": 1}, {"type": "a", "id": 2}]}}, {"of": {}}, 7]}
    told = read({"a": "things"}, nested, events="groups[].of.events[]")
    assert [one.notice and one.notice.id for one in told] == ["1", "2"]
    assert read({"a": "things"}, {"other": []}, events="groups[].of.events[]") == []


def test_a_repetition_has_the_same_key_and_what_says_something_else_under_the_same_id_has_not() -> None:
    first, again, other = (
        read({"a": "things"}, {"type": "a", "id": "1", "event": "e1", "at": at}, delivery_id="event")[0].key
        for at in (1, 1, 2)
    )
    assert first
    assert first == again
    assert first != other


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["type", "id", "events", "x"]), inner, max_size=4)
        ),
    )
)
def test_whatever_the_json_each_event_becomes_a_notice_or_says_why_not(body: Any) -> None:
    for events in ("", "events", "events[].x[]"):
        for one in read({"*": "things"}, body, events=events):
            assert (one.notice is None) == (one.why in ("unmapped", "malformed"))


def read(resources: dict[str, str], body: object, **more: object) -> list[WebhookEvent]:
    said = webhooks("xero", event={"type": "type", "id": "id", "resources": resources}, **more)
    return read_events(WebhookReceiver("crm", said, ("secret",), frozenset(resources.values())), body, {}, 1)
