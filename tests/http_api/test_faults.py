"""What an answer means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import AuthError, Contended, PermanentError, SorbusError, TransientError
from sorbus.http_api.description import ErrorRule, Errors
from sorbus.http_api.error_mapping import fault, retry_after
from sorbus.http_api.interface import Answer

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def meaning(answer: Answer, errors: Errors | None = None, sent: object = None) -> SorbusError | None:
    return fault(answer, errors or Errors(), system="crm", doing="creating contact 7 in crm", sent=sent, now=NOW)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, TransientError), (412, Contended), (423, Contended), (425, Contended), (429, TransientError),
     (500, TransientError), (503, TransientError), (401, AuthError), (400, PermanentError), (403, PermanentError),
     (422, PermanentError), (302, PermanentError)],
)  # fmt: skip
def test_a_status_means_what_http_says(status: int, kind: type[SorbusError]) -> None:
    assert type(meaning(Answer(status, {}, None))) is kind


@pytest.mark.parametrize("status", [200, 201, 204, 304])
def test_a_good_answer_is_no_fault(status: int) -> None:
    assert meaning(Answer(status, {}, {"message": "fine"})) is None


def test_what_is_not_there_any_more_is_gone() -> None:
    error = meaning(Answer(404, {}, None))
    assert isinstance(error, PermanentError)
    assert error.reason == "gone"


@pytest.mark.parametrize(
    ("body", "kind", "is_gone"),
    [
        ({"message": "Not Found"}, "application/json", True),
        (None, "text/html", True),
        ("Not Found", "application/json; charset=utf-8", True),
        ("<html><h1>404 Not Found</h1>nginx</html>", "text/html", False),
        ("default backend - 404", "text/plain", False),
        ("404 page not found", "", False),
    ],
)
def test_a_404_is_the_applications_own_where_it_is_json_or_nothing(body: object, kind: str, is_gone: bool) -> None:
    answer = Answer(404, {"Content-Type": kind}, body)
    error = fault(answer, Errors(), system="x", doing="reading 7")
    assert isinstance(error, PermanentError if is_gone else TransientError)
    own = Errors(rules=[ErrorRule(status=[404], means="gone")])
    assert isinstance(found := fault(answer, own, system="x", doing="reading 7"), PermanentError)
    assert found.reason == "gone"


def test_a_rule_of_the_description_comes_first() -> None:
    errors = Errors(
        rules=[
            ErrorRule(status=[409], means="duplicate"),
            ErrorRule(status=[400], where={"error.code": "rate"}, means="transient"),
            ErrorRule(where={"ok": False}, means="auth"),
        ],
        message=["error.message"],
        field=["error.field"],
    )
    error = meaning(
        Answer(409, {}, {"error": {"message": "exists", "field": "email"}}), errors, {"p": {"email": "a@b"}}
    )
    assert isinstance(error, PermanentError)
    assert (error.reason, error.field, error.value, error.words) == ("duplicate", "email", "a@b", "exists")
    assert isinstance(meaning(Answer(400, {}, {"error": {"code": "rate"}}), errors), TransientError)
    assert isinstance(meaning(Answer(400, {}, {"error": {"code": "other"}}), errors), PermanentError)
    assert isinstance(meaning(Answer(200, {}, {"ok": False}), errors), AuthError)
    assert meaning(Answer(200, {}, {"ok": True}), errors) is None


def test_an_answer_200_with_an_error_in_it_is_refused() -> None:
    error = meaning(
        Answer(200, {}, {"fault": {"message": "no"}}), Errors(in_success="fault", message=["fault.message"])
    )
    assert isinstance(error, PermanentError)
    assert str(error) == "creating contact 7 in crm: crm answers 200: no"


def test_a_good_answers_sentence_may_say_that_it_was_refused() -> None:
    errors = Errors(success_says="in use|not a valid", message=["message", ""])
    refused = meaning(Answer(200, {}, ["RealName changed from 'a' to 'b'", "Email address in use"]), errors)
    assert isinstance(refused, PermanentError)
    assert "Email address in use" in str(refused.words)
    assert meaning(Answer(200, {}, ["RealName changed from 'a' to 'b'"]), errors) is None
    assert meaning(Answer(200, {}, {"Comments": "this number is not a valid one"}), errors) is None


def test_messages_by_field_name_the_field() -> None:
    error = meaning(Answer(422, {}, {"errors": {"email": ["is taken", "is odd"]}}), Errors(by_field="errors"))
    assert isinstance(error, PermanentError)
    assert (error.field, error.words) == ("email", "email is taken is odd")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), ("0", 0.0), ("1.5", 1.5), ("999999999", 86400.0), ("", None), ("soon", None), ("-1", None),
     (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
     (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}, now=NOW) == seconds


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "message", "x"]), inner),
)


@given(st.integers(200, 599), st.text(max_size=40), bodies)
def test_no_answer_breaks_it_and_words_stay_short_and_plain(status: int, header: str, body: object) -> None:
    errors = Errors(message=["message", "error.message"], field=["x"], by_field="error", in_success="error")
    error = meaning(Answer(status, {"retry-after": header}, body), errors, body)
    if error is not None:
        assert len(str(error)) < 1000
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in str(error))


def test_a_page_of_html_leaves_its_words() -> None:
    error = meaning(Answer(502, {}, "<html><style>b{}</style><h1>Bad\x00 Gateway</h1></html>"))
    assert str(error) == "creating contact 7 in crm: crm answers 502: Bad Gateway; the same call may succeed later"


def test_half_a_character_in_its_words_leaves_a_message_that_can_be_written() -> None:
    error = fault(Answer(500, {}, {"message": "cut \ud83d off"}), Errors(message=["message"]), system="x", doing="y")
    assert "cut ? off" in str(error)


def test_a_message_in_general_does_not_hide_what_is_wrong_with_which_field() -> None:
    errors = Errors(message=["message"], by_field="errors")
    answer = Answer(422, {}, {"message": "The given data was invalid.", "errors": {"iban": ["Not a valid IBAN."]}})
    error = meaning(answer, errors)
    assert isinstance(error, PermanentError)
    assert (error.field, error.words) == ("iban", "The given data was invalid.; iban Not a valid IBAN.")
    told = Answer(422, {}, {"message": "iban: Not a valid IBAN.", "errors": {"iban": ["Not a valid IBAN."]}})
    again = meaning(told, errors)
    assert isinstance(again, PermanentError)
    assert again.words == "iban: Not a valid IBAN."
