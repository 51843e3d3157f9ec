"""The description of one HTTP application, as data: one YAML file per application, for producers and consumers.

Texts in it may hold `{name}` placeholders: the connection's own settings (`settings:`), and in operations `{id}`,
`{revision}`, `{survivor}` (of a merge), `{value}` (of a search), `{since}`, `{limit}`, `{offset}`, `{page}`,
`{cursor}`. Paths into JSON are dotted names, `[n]` for an index in a list and `[key=value]` for the item that has it,
as in `Phones[PhoneType=MOBILE].PhoneNumber`, and `["name"]` for a name with dots in it; in `fields` and webhooks'
`events`, `[]` stands for every item.
`{fields}` becomes the names of the resource's fields, `{fields:NAME}` of those inside NAME, when the file is read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from sorbus.timing.duration import parse_duration


def _duration(written: object) -> object:
    return timedelta(seconds=parse_duration(written)) if isinstance(written, str) else written


def _several(written: object) -> object:
    return ((written,) if written else ()) if isinstance(written, str) else written


Duration = Annotated[timedelta, BeforeValidator(_duration, json_schema_input_type=str)]
"""Written as 30s, 5m, 2h or 1d."""
JsonPath = Annotated[str, StringConstraints(max_length=300)]
Updated = Annotated[tuple[JsonPath, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Moment = Literal[
    "iso", "iso-seconds", "iso-offset", "iso-bare", "http-date", "epoch", "epoch-ms", "date", "slash-date", "ms-json"
]
"""Format of a timestamp, in UTC. `iso`: 2026-11-24T00:00:00.000000Z; `iso-seconds`: without the fraction; `iso-offset`:
+00:00 for Z; `iso-bare`: neither; `slash-date`: 2026-11-24 00:00:00; `ms-json`: /Date(1573755038314+0000)/.
"""
FieldKind = Literal[
    "text",
    "integer",
    "decimal",
    "number",
    "boolean",
    "date",
    "datetime",
    "epoch",
    "epoch-ms",
    "ms-json",
    "ms-date",
    "object",
    "list",
    "set",
]
"""Type of a JSON value. `decimal` is exact, whether it arrives as a number or as text; `ms-date` is a date that
arrives as /Date(…)/ or as 2026-11-24, and is sent as 2026-11-24; `set` is a list whose order means nothing.
"""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ApiField(_Written):
    """One field of a resource, by its path in the record."""

    kind: FieldKind = "text"
    required: bool = Field(default=False, description="The API rejects creating a record without it.")
    read_only: bool = False
    once: bool = Field(default=False, description="Can be set on creation, but never changed.")
    write_only: bool = Field(
        default=False, description="Is sent and never answered, as a password: nothing can be matched by it or read."
    )
    sent_as: JsonPath = Field(default="", description="Its path in requests, if different: project_id.")
    largest: int | None = Field(default=None, description="Maximum number of characters.")
    values: list[str] = Field(default=[], description="The only values allowed.")
    empty: list[JsonValue] = Field(
        default=[],
        description="Values in answers that stand for none, as Odoo's false; see the description's `empty`.",
    )
    doc: str = ""


class Pagination(_Written):
    """How a list is paged. `page` counts pages, `offset` records; `cursor` sends a token from the previous answer."""

    style: Literal["none", "page", "offset", "cursor", "link-header", "next-url"] = "none"
    parameter: str = Field(default="", description="The request's parameter for page, offset or cursor.")
    size_parameter: str = Field(default="", description="The request's parameter for the page's size.")
    size: int = Field(default=100, ge=1, le=10_000)
    first: int | None = Field(default=None, description="The first page's number (1) or the first offset (0).")
    token: JsonPath = Field(default="", description="Path of the next cursor or URL in the answer.")
    last_id: bool = Field(default=False, description="The cursor is the id of the page's last record (Stripe).")
    more: JsonPath = Field(default="", description="Path of the flag that says whether there are more pages.")
    done: JsonPath = Field(default="", description="Path of the flag that says that this was the last page (Zendesk).")
    total: JsonPath = Field(default="", description="Path of the total number of records.")
    total_header: str = Field(default="", description="Or the header with that number: X-Total-Count, X-WP-Total.")
    in_body: bool = Field(default=False, description="The parameters are sent in the JSON body.")


class Silence(_Written):
    """What a write adds so that the application sets off no notifications: e-mail, webhooks, workflows."""

    parameters: dict[str, str] = {}
    headers: dict[str, str] = {}
    fields: dict[JsonPath, JsonValue] = Field(default={}, description="Fields beside the record's own.")


class Operation(_Written):
    """One request. `fields_at`: where in the body the record's fields go; "" for the body itself."""

    method: Method = "GET"
    path: str
    parameters: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: JsonValue = Field(default=None, description="What the body contains besides the fields.")
    fields_at: JsonPath = Field(default="", description="Such as project, or Contacts[0].")
    encoding: Literal["json", "form"] = "json"
    record: JsonPath = Field(default="", description="Path of the record in the answer; empty: the answer itself.")
    returns: Literal["record", "id", "reference", "nothing"] = Field(
        default="record", description="reference: not its id, but what `get` reads it by, where its id is seen."
    )
    returned_id: JsonPath = Field(default="", description="Path of the new id in the answer, if not in the record.")
    no_content: bool = Field(
        default=False,
        description="get: the answer 204, or null at `record`, means that there is no such record (Zoho, GraphQL).",
    )
    partial: bool = Field(default=False, description="An update leaves omitted fields unchanged.")
    emptied_by: Literal["null", "text"] = Field(default="null", description="What empties a text: null, or empty text.")
    silent: Silence | None = Field(
        default=None,
        description="create, update, delete: what it adds for records that report no change (snapshot, replay).",
    )


class Listing(_Written):
    """A request for many records. `refers`: its items only refer to records; each is read by `get`."""

    method: Method = "GET"
    path: str
    parameters: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: JsonValue = None
    records: JsonPath = Field(default="", description="Path of the list in the answer; empty: the answer itself.")
    pagination: Pagination = Pagination()
    no_content: bool = Field(default=False, description="The answer 204 means that there are no records (Zoho).")
    refers: JsonPath = Field(default="", description="Path in an item of the id of the record that it refers to.")
    since_format: Moment = Field(default="iso", description="Format of {since} (changes).")
    ascending: bool = Field(
        default=False,
        description="Sorted by the update time, oldest first: then each page begins where the last ended.",
    )
    inclusive: bool = Field(default=True, description="The answer includes records changed exactly at {since}.")

    @property
    def is_paged(self) -> bool:
        """Whether the description says how it is paged; `style: none` says that an answer shows all."""
        return "pagination" in self.model_fields_set


class Search(_Written):
    """A search for records by the value of one field."""

    method: Method = "GET"
    path: str
    parameters: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: JsonValue = None
    records: JsonPath = ""
    single: bool = Field(
        default=False, description="At that path is one record, not a list; 404 means that there is none."
    )
    no_content: bool = Field(default=False, description="The answer 204 means that nothing was found (Zoho).")
    pagination: Pagination = Field(default=Pagination(), description="How results are paged, if not in one page.")
    refers: JsonPath = Field(
        default="", description="Path in a result of the id by which `get` reads the whole record."
    )
    exact: bool = Field(default=True, description="The answer contains only records with exactly this value.")
    quote: Literal["", "double", "single", "sql"] = Field(
        default="", description="{value} is inside quotes of this kind, so quotes in it are escaped."
    )


class ApiResource(_Written):
    """One kind of record of the application."""

    id: JsonPath = Field(default="id", description="Path of the record's id.")
    updated: Updated = Field(
        default=(),
        description="Path of the time of the last change; several if one may be empty, as [updated_at, created_at]:"
        " the first that has a value counts.",
    )
    updated_format: Moment = "iso"
    revision: JsonPath = Field(default="", description="Path of what an update must name (QuickBooks).")
    etag: bool = Field(default=False, description="GET answers with an ETag, and updates honour If-Match.")
    overlap: Duration = Field(default=timedelta(minutes=2), description="How far before the cursor a poll begins.")
    settle: Duration = Field(
        default=timedelta(0),
        description="How long until a search finds a new record: search indexes, creations accepted with 202.",
    )
    deleted: dict[JsonPath, JsonValue] = Field(
        default={},
        description="A record with one of these counts as deleted; '*': with any value, as a deleted_at has.",
    )
    list: Listing | None = Field(default=None, description="All records.")
    changes: Listing | None = Field(default=None, description="Those changed since {since}.")
    get: Operation | None = None
    create: Operation | None = None
    update: Operation | None = None
    delete: Operation | None = None
    merge: Operation | None = Field(
        default=None,
        description="Merges two records: {id} into {survivor}; the answer, if any, contains the surviving one.",
    )
    search: dict[str, Search] = Field(default={}, description="Field -> how to find records by its value.")
    fields: dict[JsonPath, ApiField] = {}
    lists: dict[str, JsonPath] = Field(default={}, description="Lists of records inside: name -> path, for mappings.")
    marker: JsonPath = Field(
        default="", description="A field that can hold our id of the record, so that a record we created is recognized."
    )


class Limit(_Written):
    """At most `requests` in any window of `per`."""

    requests: int = Field(ge=1)
    per: Duration
    remaining_header: str = Field(default="", description="The header with the number of requests left.")
    reset_header: str = Field(
        default="",
        description="The header with the time when it resets: seconds, milliseconds, an epoch. By default the usual"
        " ones are read: RateLimit, RateLimit-Reset, X-RateLimit-Reset, X-Rate-Limit-Reset.",
    )
    only: list[str] = Field(
        default=[], description="Counts only requests whose path begins with one of these (HubSpot's searches)."
    )


class ErrorRule(_Written):
    """What an answer means: by status and, optionally, a value in its body."""

    status: list[int] = []
    where: dict[JsonPath, JsonValue] = Field(
        default={}, description="Values in the body that must all be so; '*': any but null, false and empty ones."
    )
    says: str = Field(default="", description="A regular expression found in the application's error message.")
    means: Literal["transient", "conflict", "permanent", "auth", "gone", "duplicate", "success"]


class Errors(_Written):
    """The application's error answers.

    Without a matching rule, 408, 429 and 5xx are transient, 412, 423 and 425 a conflict (of one record, which is read
    again, and becomes a dead letter if that recurs), 401 is auth, 404 and 410 gone (a 404 in text that isn't JSON is
    transient: a gateway's), other 4xx permanent. A successful answer to a write that holds `success: false`,
    `ok: false`, `status: error`, or anything in `error` or `errors`, outside the record's own fields, is permanent; to
    a read that has them in place of records it is transient. A rule with `means: success` overrides both.
    """

    rules: list[ErrorRule] = []
    message: list[JsonPath] = Field(
        default=[], description="Paths of the error message; the first with a value counts."
    )
    field: list[JsonPath] = Field(default=[], description="Paths of the field's name.")
    by_field: JsonPath = Field(default="", description="An object of field -> messages (HubSpot, Redmine and others).")
    success_says: str = Field(
        default="", description="An answer 200 that is a list of sentences is an error if one matches this pattern."
    )
    in_success: JsonPath = Field(default="", description="An answer 200 that contains this is an error.")


class Auth(_Written):
    """How Sorbus authenticates; the credentials are in the connection.

    api-key (and basic with `key_as`): `api_key`; basic and session: `username` and `password`; bearer: `token`;
    oauth2: `client_id`, `client_secret` and, unless `sorbus api login` has got one, `refresh_token`.
    """

    kind: Literal["none", "api-key", "basic", "bearer", "oauth2", "session"] = "none"
    header: str = Field(default="", description="api-key: the header; the connection's `api_key` is its value.")
    parameter: str = Field(default="", description="api-key: or this query parameter.")
    prefix: str = Field(default="", description="api-key: put before the key.")
    scheme: str = Field(default="Bearer", description="bearer, oauth2: the word before the token.")
    key_as: Literal["", "username", "password"] = Field(
        default="",
        description="basic: the connection's `api_key` is the user name (Freshdesk, BambooHR) or the password"
        " (Mailchimp), and nothing else is needed.",
    )
    token_url: str = ""
    authorize_url: str = ""
    scopes: list[str] = []
    login_scopes: list[str] = Field(
        default=[], description="Requested in addition when a person logs in: offline_access."
    )
    grants: list[Literal["client_credentials", "refresh_token"]] = ["refresh_token"]
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    token_parameters: dict[str, str] = Field(
        default={}, description="Extra parameters of token requests and logins: audience (Auth0), resource (Azure AD)."
    )
    tokens_at: JsonPath = Field(
        default="", description="Path of access_token in the token endpoint's answer, if not at its top: data."
    )
    doc: str = Field(default="", description="Where a person gets the credentials.")


class Setting(_Written):
    """A key that the connection in the map must have."""

    doc: str
    secret: bool = False
    default: str | None = None
    pattern: str | None = Field(default=None, description="A regular expression that must match its whole value.")


class ApiEvent(_Written):
    """Where a webhook's event names the resource and the record that changed."""

    type: JsonPath = Field(default="", description="Path of the event's type.")
    type_header: str = Field(
        default="", description="Or the header with it: X-WC-Webhook-Topic, X-Shopify-Topic, X-GitHub-Event."
    )
    id: JsonPath = Field(description="Path of the record's id.")
    resources: dict[str, str] = Field(description="Type, or its prefix up to `*`, -> resource.")
    deleted: list[str] = Field(default=[], description="Types (or prefixes up to `*`) that mean a delete.")
    where: dict[JsonPath, str] = Field(
        default={},
        description="Events with other values are ignored: {tenantId: '{tenant_id}'}; empty settings don't count.",
    )


class WebhookSignature(_Written):
    """How Sorbus verifies who posts to it."""

    signature: Literal["xero", "stripe", "hubspot-v3", "standard-webhooks", "hmac-sha256", "shared-secret"]
    header: str = Field(
        default="",
        description="The header with the signature (hmac-sha256) or the secret (shared-secret).",
    )
    parameter: str = Field(
        default="",
        description="shared-secret: or the query parameter with the secret. Without either it is the end of the URL:"
        " /webhooks/SYSTEM/SECRET.",
    )
    prefix: str = Field(default="", description="What precedes it in the header, such as sha256= or 'Bearer '.")
    timestamp_header: str = Field(
        default="", description="hmac-sha256: the header with the time of sending, signed before the body (Zendesk)."
    )
    timestamp_format: Moment = "iso"
    encoding: Literal["hex", "base64"] = "base64"
    tolerance: Duration = Field(default=timedelta(minutes=5), description="Older deliveries are rejected.")


class Webhooks(WebhookSignature):
    """What the application posts to Sorbus, and how Sorbus verifies the sender."""

    events: JsonPath = Field(
        default="", description="Path of the list of events in a delivery; empty: it is one event, or the list itself."
    )
    delivery_id: JsonPath = Field(default="", description="Path of an event's own id.")
    delivery_header: str = ""
    event: ApiEvent


class Description(_Written):
    """One application."""

    api: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    extends: str = Field(default="", description="A description that comes with Sorbus, which this one extends.")
    title: str
    docs: str = Field(default="", description="The vendor's own documentation.")
    version: str = Field(default="", description="The version of the vendor's API that this was written for.")
    base_url: str = Field(default="", description="May hold {settings}; empty if the connection has to name it.")
    headers: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    auth: Auth = Auth()
    other_auth: list[Auth] = Field(
        default=[], description="Other methods; the first whose credentials the connection has is used."
    )
    limits: list[Limit] = []
    concurrency: int = Field(default=4, ge=1, le=64, description="Maximum concurrent requests.")
    timeout: Duration = timedelta(seconds=30)
    idempotency_header: str = Field(default="", description="The header for the idempotency key of a POST.")
    idempotency_parameter: str = Field(default="", description="Or the query parameter for it (QuickBooks).")
    idempotency_lasts: Duration = timedelta(hours=24)
    errors: Errors = Errors()
    empty: list[JsonValue] = Field(
        default=[], description="Values in answers that stand for none in all fields but booleans, as Odoo's false."
    )
    hook: str = Field(default="", description="MODULE:CLASS of a Python class that replaces the described calls.")
    resources: dict[str, ApiResource]
    webhooks: Webhooks | None = None

    @model_validator(mode="before")
    @classmethod
    def _spread_empty(cls, written: object) -> object:
        """`empty` copied to every field that doesn't say its own and isn't a boolean."""
        if not isinstance(written, dict) or not (empty := written.get("empty")):
            return written
        resources = written.get("resources")
        if not isinstance(resources, dict):
            return written
        return {**written, "resources": {name: _with_empty(each, empty) for name, each in resources.items()}}


def _with_empty(resource: object, empty: object) -> object:
    fields = resource.get("fields") if isinstance(resource, dict) else None
    if not isinstance(resource, dict) or not isinstance(fields, dict):
        return resource
    spread = {
        path: {"empty": empty, **field} if isinstance(field, dict) and field.get("kind") != "boolean" else field
        for path, field in fields.items()
    }
    return {**resource, "fields": spread}
