"""Signatures: the vendors' own vectors pass; what is changed by a byte, sent late or signed by others doesn't."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.http_api.description import Webhooks
from sorbus.webhook.signatures import RefusedRequest, WebhookRequest, is_key, refuse_early, verify
from tests.producers.webhook.signed import SCHEMES, SECRET, TIMED, UNSIGNED, URL, sign, webhooks

NOW = 1_732_413_600
BODY = '{"type":"contact.creation","id":"4711","name":"Zoë"}'.encode()


@dataclass(frozen=True)
class Vector:
    """A signature that its vendor has published."""

    webhooks: Webhooks
    secret: str
    delivery: WebhookRequest
    now: float


VECTORS = {
    # standard-webhooks/standard-webhooks, the libraries' test of `sign`
    "standard": Vector(
        webhooks("standard-webhooks"),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        WebhookRequest(
            "POST",
            "",
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
        ),
        1614265330,
    ),
    # HubSpot/hubspot-api-python and hubspot-api-ruby, the tests of the helper `Signature`
    "hubspot": Vector(
        webhooks("hubspot-v3"),
        "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        WebhookRequest(
            "POST",
            "https://www.example.com/webhook_uri",
            {
                "x-hubspot-signature-v3": "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=",
                "x-hubspot-request-timestamp": "15000000",
            },
            b"{'example_field':'example_value'}",
        ),
        15000,
    ),
    # docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation"
    "github": Vector(
        SCHEMES["github"],
        "It's a Secret to Everybody",
        WebhookRequest(
            "POST",
            "",
            {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
            b"Hello, World!",
        ),
        0,
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vendors_own_vectors_pass(name: str) -> None:
    vector = VECTORS[name]
    verify(vector.webhooks, [vector.secret], vector.delivery, vector.now)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme not in UNSIGNED])
@settings(max_examples=40)
@given(body=st.binary(min_size=1, max_size=200), place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_body_changed_by_one_byte_is_refused(scheme: str, body: bytes, place: int, flip: int) -> None:
    if scheme == "standard":
        body = body.hex().encode()
    delivery = sign(scheme, body, NOW)
    verify(SCHEMES[scheme], [SECRET], delivery, NOW)
    place %= len(body)
    changed = body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
    refused(scheme, delivery._replace(body=changed))
    refused(scheme, delivery._replace(body=body + b" "))


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if not scheme.startswith("in-")])
@settings(max_examples=40)
@given(data=st.data())
def test_a_header_changed_by_one_character_is_refused(scheme: str, data: st.DataObject) -> None:
    delivery = sign(scheme, BODY, NOW)
    name = data.draw(st.sampled_from(sorted(delivery.headers)))
    value = delivery.headers[name]
    place = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=255).filter(lambda one: one != value[place]))
    changed = value[:place] + other + value[place + 1 :]
    refused(scheme, delivery._replace(headers={**delivery.headers, name: changed}))
    refused(scheme, delivery._replace(headers={**delivery.headers, name: value[:-1]}))
    refused(scheme, delivery._replace(headers={key: value for key, value in delivery.headers.items() if key != name}))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=40)
@given(value=st.text(st.characters(max_codepoint=255), max_size=80))
def test_no_header_makes_verifying_fail_otherwise_than_by_refusing(scheme: str, value: str) -> None:
    delivery = sign(scheme, BODY, NOW)
    for name in delivery.headers:
        refused(scheme, delivery._replace(headers={**delivery.headers, name: value}))


@pytest.mark.parametrize("scheme", ["in-path", "in-query"])
@settings(max_examples=40)
@given(token=st.text(max_size=80))
def test_no_other_secret_in_the_address_passes(scheme: str, token: str) -> None:
    refused(scheme, sign(scheme, BODY, NOW)._replace(token=token))
    refused(scheme, sign(scheme, BODY, NOW)._replace(token=SECRET[:-1]))
    refused(scheme, sign(scheme, BODY, NOW)._replace(token=SECRET + token[:1] + "x"))


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("at", [0, -1, 253402300799, 253402300800, 9999999999999, 10**30])
def test_a_time_of_sending_that_no_calendar_has_is_refused(scheme: str, at: int) -> None:
    value = str(at * 1000) if scheme == "hubspot" else str(at)
    delivery = sign(scheme, BODY, NOW)
    changed = {
        name: text.replace(str(NOW), str(at)) if scheme in ("stripe", "standard") else value
        for name, text in delivery.headers.items()
        if "timestamp" in name or name == "stripe-signature"
    }
    refused(scheme, delivery._replace(headers={**delivery.headers, **changed}))
    with pytest.raises(RefusedRequest):
        refuse_early(
            SCHEMES[scheme], [SECRET], delivery._replace(headers={**delivery.headers, **changed}, body=b""), NOW
        )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_has_no_signature_is_refused_before_its_body(scheme: str) -> None:
    unread = sign(scheme, BODY, NOW)._replace(body=b"")
    refuse_early(SCHEMES[scheme], [SECRET], unread, NOW)
    with pytest.raises(RefusedRequest):
        refuse_early(SCHEMES[scheme], [SECRET], unread._replace(headers={}, token=""), NOW)


@pytest.mark.parametrize("scheme", TIMED)
def test_what_was_sent_too_long_ago_or_too_far_ahead_is_stale(scheme: str) -> None:
    delivery = sign(scheme, BODY, NOW)
    for seconds in (-300, 0, 300):
        verify(SCHEMES[scheme], [SECRET], delivery, NOW + seconds)
    for seconds in (-301, 301, 86_400):
        assert refused(scheme, delivery, now=NOW + seconds).reason == "stale"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_while_secrets_rotate_the_old_and_the_new_one_pass_and_no_other(scheme: str) -> None:
    old, new, other = (f"whsec_{letter * 32}" for letter in "abc")
    for secret in (old, new):
        verify(SCHEMES[scheme], [new, old], sign(scheme, BODY, NOW, secret=secret), NOW)
    refused(scheme, sign(scheme, BODY, NOW, secret=other), secrets=(new, old))
    refused(scheme, sign(scheme, BODY, NOW), secrets=())


def test_only_base64_can_be_a_secret_of_standard_webhooks() -> None:
    assert all(is_key(secret) for secret in (SECRET, SECRET.removeprefix("whsec_"), "YWJjZA", "YWJjZA=="))
    assert not any(is_key(secret) for secret in ("", "whsec_", "whsec_!!!!", "a secret", "whsec_é"))


def test_one_good_signature_among_several_is_enough() -> None:
    stripe = sign("stripe", BODY, NOW)
    time, _, signature = stripe.headers["stripe-signature"].partition(",")
    both = {"stripe-signature": f"{time},v1={'0' * 64},{signature},v0={'1' * 64}"}
    verify(SCHEMES["stripe"], [SECRET], stripe._replace(headers=both), NOW)
    standard = sign("standard", BODY, NOW)
    many = {**standard.headers, "webhook-signature": f"v1a,x v1,no {standard.headers['webhook-signature']}"}
    verify(SCHEMES["standard"], [SECRET], standard._replace(headers=many), NOW)


def test_a_stripe_signature_of_another_scheme_or_with_two_times_is_refused() -> None:
    delivery = sign("stripe", BODY, NOW)
    value = delivery.headers["stripe-signature"]
    refused("stripe", delivery._replace(headers={"stripe-signature": value.replace("v1=", "v0=")}))
    refused("stripe", delivery._replace(headers={"stripe-signature": f"{value},t={NOW}"}))


def test_hubspot_signs_its_url_decoded_and_no_other_url() -> None:
    decoded = sign("hubspot", BODY, NOW, url=f"{URL}?to=a@b.example")
    verify(SCHEMES["hubspot"], [SECRET], decoded._replace(url=f"{URL}?to=a%40b.example"), NOW)
    refused("hubspot", decoded._replace(url=URL))
    refused("hubspot", decoded._replace(method="PUT"))


def refused(
    scheme: str, delivery: WebhookRequest, *, now: float = NOW, secrets: tuple[str, ...] = (SECRET,)
) -> RefusedRequest:
    with pytest.raises(RefusedRequest) as found:
        verify(SCHEMES[scheme], secrets, delivery, now)
    return found.value
