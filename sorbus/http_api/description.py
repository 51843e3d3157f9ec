"""What one application behind HTTP is, as data: one YAML file per application, for producers and consumers alike.

Texts in it may hold `{name}` placeholders: the connection's own settings (`settings:`), and in operations `{id}`,
`{revision}`, `{survivor}` (of a merge), `{value}` (of a search), `{since}`, `{limit}`, `{offset}`, `{page}`,
`{cursor}`. Paths into JSON are names with dots, `[n]` for a place in a list and `[key=value]` for the item that has it,
as in `Phones[PhoneType=MOBILE].PhoneNumber`; in `fields` and webhooks' `events`, `[]` stands for every item.
`{fields}` becomes the names of the resource's fields, `{fields:NAME}` of those inside NAME, when the file is read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from sorbus.mapfile.timing import parse_duration


def _duration(written: object) -> object:
    return timedelta(seconds=parse_duration(written)) if isinstance(written, str) else written


def _several(written: object) -> object:
    return ((written,) if written else ()) if isinstance(written, str) else written


Duration = Annotated[timedelta, BeforeValidator(_duration, json_schema_input_type=str)]
"""Written as 30s, 5m, 2h or 1d."""
JsonPath = Annotated[str, StringConstraints(max_length=300)]
Updated = Annotated[tuple[JsonPath, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Moment = Literal["iso", "iso-seconds", "http-date", "epoch", "epoch-ms", "date", "slash-date", "ms-json"]
"""How a point in time is written. `slash-date`: 2026-11-24 00:00:00; `ms-json`: /Date(1573755038314+0000)/."""
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
]
"""How a value is written in JSON. `decimal` is exact, whether it comes as a number or as text; `ms-date` is a day that
comes as /Date(…)/ or as 2026-11-24, and is sent as 2026-11-24.
"""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ApiField(_Written):
    """One field of a resource, by its path in the record."""

    kind: FieldKind = "text"
    required: bool = Field(default=False, description="The API refuses to create a record without it.")
    read_only: bool = False
    once: bool = Field(default=False, description="May be given at creation and never be changed.")
    sent_as: JsonPath = Field(default="", description="Where it goes in what is sent, if elsewhere: project_id.")
    largest: int | None = Field(default=None, description="Most characters.")
    values: list[str] = Field(default=[], description="The only values it may have.")
    doc: str = ""


class Pagination(_Written):
    """How a list goes on. `page` counts pages, `offset` records; `cursor` sends a token that the answer held."""

    style: Literal["none", "page", "offset", "cursor", "link-header", "next-url"] = "none"
    parameter: str = Field(default="", description="The request's parameter for page, offset or cursor.")
    size_parameter: str = Field(default="", description="The request's parameter for the page's size.")
    size: int = Field(default=100, ge=1, le=10_000)
    first: int | None = Field(default=None, description="The first page's number (1) or the first offset (0).")
    token: JsonPath = Field(default="", description="Where the answer holds the next cursor or URL.")
    last_id: bool = Field(default=False, description="The cursor is the id of the page's last record (Stripe).")
    more: JsonPath = Field(default="", description="Where the answer says whether there is more.")
    done: JsonPath = Field(default="", description="Where the answer says that this was all (Zendesk).")
    total: JsonPath = Field(default="", description="Where the answer says how many there are in all.")
    total_header: str = Field(default="", description="Or the answer's header that says it: X-Total-Count, X-WP-Total.")
    in_body: bool = Field(default=False, description="The parameters travel in the JSON body.")


class Operation(_Written):
    """One request. `fields_at`: where in the body the record's fields go; "" the body itself."""

    method: Method = "GET"
    path: str
    parameters: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: JsonValue = Field(default=None, description="What the body holds beside the fields.")
    fields_at: JsonPath = Field(default="", description="Such as project, or Contacts[0].")
    encoding: Literal["json", "form"] = "json"
    record: JsonPath = Field(default="", description="Where the answer holds the record; empty: the answer is it.")
    returns: Literal["record", "id", "reference", "nothing"] = Field(
        default="record", description="reference: not its id, but what `get` reads it by, where its id is seen."
    )
    returned_id: JsonPath = Field(default="", description="Where the answer holds the new id, if not the record.")
    partial: bool = Field(default=False, description="Fields that are left out stay as they are (update).")
    emptied_by: Literal["null", "text"] = Field(default="null", description="What empties a text: null, or no letters.")


class Listing(_Written):
    """A request for many records. `refers`: its items only name records; each is read by `get`."""

    method: Method = "GET"
    path: str
    parameters: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: JsonValue = None
    records: JsonPath = Field(default="", description="Where the answer holds the list; empty: the answer is it.")
    pagination: Pagination = Pagination()
    refers: JsonPath = Field(default="", description="Where an item holds the id of the record it refers to.")
    since_format: Moment = Field(default="iso", description="How {since} is written (changes).")
    ascending: bool = Field(
        default=False,
        description="Sorted by the update time, oldest first: then each page begins where the last ended.",
    )
    inclusive: bool = Field(default=True, description="{since} itself is part of the answer.")


class Search(_Written):
    """How records with one value in one field are found."""

    method: Method = "GET"
    path: str
    parameters: dict[str, str] = {}
    body: JsonValue = None
    records: JsonPath = ""
    pagination: Pagination = Field(default=Pagination(), description="How what was found goes on, if not in one page.")
    refers: JsonPath = Field(default="", description="Where a found item holds the id by which `get` reads it whole.")
    exact: bool = Field(default=True, description="The answer holds only records that have just this value.")
    quote: Literal["", "double", "single", "sql"] = Field(
        default="", description="{value} stands inside quotes of this kind, so those in it are escaped."
    )


class ApiResource(_Written):
    """One kind of record of the application."""

    id: JsonPath = Field(default="id", description="Where a record holds its id.")
    updated: Updated = Field(
        default=(),
        description="Where a record holds the time of its last change; several where one may be empty, as"
        " [updated_at, created_at]: the first that has a value counts.",
    )
    updated_format: Moment = "iso"
    revision: JsonPath = Field(default="", description="Where a record holds what an update must name (QuickBooks).")
    etag: bool = Field(default=False, description="GET answers with an ETag, and updates honour If-Match.")
    overlap: Duration = Field(default=timedelta(minutes=2), description="How far before the cursor a poll begins.")
    settle: Duration = Field(
        default=timedelta(0),
        description="How long until a search finds what was just made: search indexes, creations accepted with 202.",
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
        description="Makes one record of two: {id} goes into {survivor}; the answer, if any, holds what is left.",
    )
    search: dict[str, Search] = Field(default={}, description="Field -> how records with a value in it are found.")
    fields: dict[JsonPath, ApiField] = {}
    lists: dict[str, JsonPath] = Field(default={}, description="Lists of records inside: name -> path, for mappings.")
    marker: JsonPath = Field(
        default="", description="A field that may hold our own id of the record, so that one we made is known again."
    )


class Limit(_Written):
    """At most `requests` in any stretch of `per`."""

    requests: int = Field(ge=1)
    per: Duration
    remaining_header: str = Field(default="", description="The answer's header that says how many are left.")
    reset_header: str = Field(
        default="",
        description="The answer's header that says when it restarts: seconds, milliseconds, an epoch. Without it"
        " the usual ones are read: RateLimit, RateLimit-Reset, X-RateLimit-Reset, X-Rate-Limit-Reset.",
    )
    only: list[str] = Field(
        default=[], description="It counts only requests whose path begins with one of these (HubSpot's searches)."
    )


class ErrorRule(_Written):
    """What an answer means: by status, and by a value in its body where one is named."""

    status: list[int] = []
    where: dict[JsonPath, JsonValue] = {}
    says: str = Field(default="", description="A regular expression that is found in the application's words.")
    means: Literal["transient", "conflict", "permanent", "auth", "gone", "duplicate", "success"]


class Errors(_Written):
    """The application's error answers.

    What no rule names: 408, 429 and 5xx are transient, 412, 423 and 425 a conflict (of one record, which is read again,
    and becomes a dead letter if that comes back), 401 is auth, 404 and 410 gone, other 4xx permanent. A good answer to
    a write that holds `success: false`, `ok: false`, `status: error`, or anything in `error` or `errors`, outside the
    record's own fields, is permanent; a rule with `means: success` says otherwise.
    """

    rules: list[ErrorRule] = []
    message: list[JsonPath] = Field(default=[], description="Where the words are; the first that holds any.")
    field: list[JsonPath] = Field(default=[], description="Where the field's name is.")
    by_field: JsonPath = Field(default="", description="An object of field -> messages (HubSpot, Redmine and others).")
    success_says: str = Field(
        default="", description="An answer 200 that is a list of sentences, one of which has this pattern, is one, too."
    )
    in_success: JsonPath = Field(default="", description="An answer 200 that holds this is an error all the same.")


class Auth(_Written):
    """How the application knows us; the credentials are the connection's.

    api-key: `api_key`; basic and session: `username` and `password`; bearer: `token`; oauth2: `client_id`,
    `client_secret` and, unless `sorbus api login` has got one, `refresh_token`.
    """

    kind: Literal["none", "api-key", "basic", "bearer", "oauth2", "session"] = "none"
    header: str = Field(default="", description="api-key: the header; the connection's `api_key` is its value.")
    parameter: str = Field(default="", description="api-key: or this query parameter.")
    prefix: str = Field(default="", description="api-key: put before the key.")
    token_url: str = ""
    authorize_url: str = ""
    scopes: list[str] = []
    login_scopes: list[str] = Field(default=[], description="Asked for as well when a person logs in: offline_access.")
    grants: list[Literal["client_credentials", "refresh_token"]] = ["refresh_token"]
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    token_parameters: dict[str, str] = Field(
        default={}, description="What token requests and logins name as well: audience (Auth0), resource (Azure AD)."
    )
    tokens_at: JsonPath = Field(
        default="", description="Where the token endpoint's answer holds access_token, if not at its top: data."
    )
    doc: str = Field(default="", description="Where a person gets the credentials.")


class Setting(_Written):
    """Something the connection in the map has to name."""

    doc: str
    secret: bool = False
    default: str | None = None
    pattern: str | None = Field(default=None, description="A regular expression that its value matches as a whole.")


class ApiEvent(_Written):
    """What one webhook's event is about: where it names resource and record."""

    type: JsonPath = Field(default="", description="Where the event's type is.")
    id: JsonPath = Field(description="Where the record's id is.")
    resources: dict[str, str] = Field(description="Type, or its beginning up to `*`, -> resource.")
    deleted: list[str] = Field(default=[], description="Types (or beginnings up to `*`) that mean: it is gone.")
    where: dict[JsonPath, str] = Field(
        default={}, description="Other values: not for us, as {tenantId: '{tenant_id}'}; empty settings don't count."
    )


class Webhooks(_Written):
    """What the application posts to us, and how we know that it was the application."""

    signature: Literal["xero", "stripe", "hubspot-v3", "standard-webhooks", "hmac-sha256", "shared-secret"]
    header: str = Field(
        default="",
        description="The header that holds the signature (hmac-sha256) or the secret (shared-secret).",
    )
    parameter: str = Field(
        default="",
        description="shared-secret: or the query parameter that holds it. Without either it is the end of the address:"
        " /webhooks/SYSTEM/SECRET.",
    )
    prefix: str = Field(default="", description="What stands before it in the header, such as sha256= or 'Bearer '.")
    timestamp_header: str = Field(
        default="", description="hmac-sha256: the header with the time of sending, signed before the body (Zendesk)."
    )
    timestamp_format: Moment = "iso"
    encoding: Literal["hex", "base64"] = "base64"
    tolerance: Duration = Field(default=timedelta(minutes=5), description="Older deliveries are refused.")
    events: JsonPath = Field(
        default="", description="Where the delivery holds its list of events; empty: it is one, or is the list."
    )
    delivery_id: JsonPath = Field(default="", description="Where an event holds an id of its own.")
    delivery_header: str = ""
    event: ApiEvent


class Description(_Written):
    """One application."""

    api: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    extends: str = Field(default="", description="A description that comes with Sorbus, to which this one adds.")
    title: str
    docs: str = Field(default="", description="The vendor's own documentation.")
    version: str = Field(default="", description="The version of the vendor's API that this was written for.")
    base_url: str = Field(default="", description="May hold {settings}; empty where the connection has to name it.")
    headers: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    auth: Auth = Auth()
    other_auth: list[Auth] = Field(
        default=[], description="Other ways in; the first for which the connection has the credentials is taken."
    )
    limits: list[Limit] = []
    concurrency: int = Field(default=4, ge=1, le=64, description="Most requests at a time.")
    timeout: Duration = timedelta(seconds=30)
    idempotency_header: str = Field(default="", description="The header for a key that makes a repeated POST harmless.")
    idempotency_parameter: str = Field(default="", description="Or the query parameter for it (QuickBooks).")
    idempotency_lasts: Duration = timedelta(hours=24)
    errors: Errors = Errors()
    hook: str = Field(default="", description="MODULE:CLASS of a Python class in place of the described calls.")
    resources: dict[str, ApiResource]
    webhooks: Webhooks | None = None
