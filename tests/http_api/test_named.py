"""Which record a creation's answer names."""

from __future__ import annotations

import pytest

from sorbus.http_api.description import ApiResource, Operation
from sorbus.http_api.interface import Answer
from sorbus.http_api.named import Named, named_by

BY_ID = ApiResource(get=Operation(path="/contacts/{id}"))
AS_JSON = ApiResource(get=Operation(path="/v2/{account}/contacts/{id}.json?full=1"))
UNREAD = ApiResource()


@pytest.mark.parametrize(
    ("resource", "status", "location", "id", "expected"),
    [
        (BY_ID, 201, "", 7, Named("7", is_sure=True)),
        (BY_ID, 200, "", "7", Named("7", is_sure=True)),
        (BY_ID, 202, "", "job-7", Named("job-7", is_sure=False)),
        (UNREAD, 202, "", "7", Named("7", is_sure=True)),
        (BY_ID, 201, "https://crm.example/api/contacts/7/", None, Named("7", is_sure=True)),
        (BY_ID, 200, "/contacts/7?x=/9", None, Named("7", is_sure=True)),
        (BY_ID, 202, "/contacts/7", None, Named("7", is_sure=False)),
        (BY_ID, 202, "/jobs/7", None, Named(None, is_sure=False)),
        (BY_ID, 201, "/persons/7", None, Named("7", is_sure=False)),
        (BY_ID, 200, "/jobs/7", None, Named(None, is_sure=False)),
        (BY_ID, 204, "https://org.example/api/data/v9.2/accounts(00aa-11)", None, Named("00aa-11", is_sure=True)),
        (BY_ID, 201, "/accounts('A%2F1')", None, Named("A/1", is_sure=True)),
        (AS_JSON, 201, "/v2/42/contacts/7.json", None, Named("7", is_sure=True)),
        (UNREAD, 201, "/contacts/7", None, Named("7", is_sure=True)),
        (UNREAD, 202, "/jobs/7", None, Named(None, is_sure=False)),
        (BY_ID, 201, "", True, Named(None, is_sure=False)),
        (BY_ID, 201, "", None, Named(None, is_sure=False)),
    ],
)
def test_named(resource: ApiResource, status: int, location: str, id: object, expected: Named) -> None:
    headers = {"OData-EntityId" if status == 204 else "Location": location} if location else {}
    assert named_by(Answer(status, headers, None), resource, id) == expected
