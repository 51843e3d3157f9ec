"""Mocks of Asana, Jira Cloud and Microsoft 365 lists."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar

from tests.http_api.vendors.mock import Record, Refused, Request, Response, VendorMock, iso, moment


class Asana(VendorMock):
    """Compact records unless opt_fields asks for more; an offset token; links are objects when read."""

    api, resource, kind = "asana", "tasks", "tasks"
    connection: ClassVar = {"token": "t", "workspace": "11", "project": "22"}
    id_field, name_field, note_field = "gid", "name", "notes"
    _LINKS = ("assignee", "parent", "owner", "team")

    def new_id(self) -> str:
        return str(super().new_id())

    def times(self, *, new: bool) -> Record:
        now = self.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return {"created_at": now, "modified_at": now} if new else {"modified_at": now}

    def missing(self, kind: str, id: str) -> Refused:
        return Refused(404, {"errors": [{"message": f"{kind}: Unknown object: {id}"}]})

    def create(self, kind: str, fields: Record) -> Record:
        return super().create(kind, self._linked(fields))

    def update(self, kind: str, id: str, fields: Record) -> Record:
        return super().update(kind, id, self._linked(fields))

    def _linked(self, fields: Record) -> Record:
        links = {name: {"gid": fields[name], "name": "x"} for name in self._LINKS if fields.get(name)}
        return {**fields, **links}

    def routes(self, request: Request) -> Response:
        query, template = request.query, request.template
        if template.endswith("/typeahead") or template.endswith("/search"):
            kind = "projects" if "typeahead" in template else "tasks"
            word = query.get("query", query.get("text", "")).lower()
            found = [one for one in self.all(kind) if set(word.split()) <= set(one["name"].lower().split())]
            return Response(200, {"data": [_shown(one, query) for one in found[:20]]})
        kind = template.strip("/").split("/")[0]
        match request.method, bool(request.holes):
            case "GET", False:
                return self._list(kind, query)
            case "GET", True if request.holes[0].startswith("external:"):
                key = request.holes[0].removeprefix("external:")
                found = [one for one in self.all(kind) if (one.get("external") or {}).get("gid") == key]
                if not found:
                    raise self.missing(kind, key)
                return Response(200, {"data": found[0]})
            case "GET", True:
                return Response(200, {"data": _shown(self.need(kind, request.holes[0]), query)})
            case "POST", _:
                return Response(201, {"data": self.create(kind, request.body["data"])})
            case "PUT", _:
                return Response(200, {"data": self.update(kind, request.holes[0], request.body["data"])})
        self.delete(kind, request.holes[0])
        return Response(200, {"data": {}})

    def _list(self, kind: str, query: dict[str, str]) -> Response:
        if kind == "tasks" and "project" not in query:
            raise Refused(400, {"errors": [{"message": "You must specify a project"}]})
        found = self.all(kind)
        if "modified_since" in query:
            found = [one for one in found if moment(one["modified_at"]) >= moment(query["modified_since"])]
        begin, size = int(query.get("offset", "0")), min(int(query.get("limit", "100")), 100, self.most_in_page)
        following = {"offset": str(begin + size)} if begin + size < len(found) else None
        data = [_shown(one, query) for one in found[begin : begin + size]]
        return Response(200, {"data": data, "next_page": following})


def _shown(record: Record, query: dict[str, str]) -> Record:
    asked = [name.split(".")[0] for name in query.get("opt_fields", "name").split(",")]
    return {"gid": record["gid"], "resource_type": "x", **{name: record.get(name) for name in asked}}


class Jira(VendorMock):
    """JQL as far as Sorbus writes it; pages by a token; an update answers 204."""

    api, resource, kind = "jira", "issues", "issue"
    connection: ClassVar = {"username": "u", "password": "p", "site": "test", "projects": "SALES"}
    name_field, note_field = "fields.summary", "fields.priority.name"
    more: ClassVar = {"fields.project.key": "SALES", "fields.issuetype.name": "Task"}
    _JQL = re.compile(
        r"project in \(SALES\)(?: AND updated >= (?P<since>\d+)| AND summary ~ \"\\\"(?P<text>.*)\\\"\")?"
        r" ORDER BY (?P<order>created|updated) ASC"
    )

    def new_id(self) -> str:
        return str(super().new_id())

    def times(self, *, new: bool) -> Record:
        return {}

    def _now(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def create(self, kind: str, fields: Record) -> Record:
        sent = fields["fields"]
        if missing := [name for name in ("project", "issuetype", "summary") if not sent.get(name)]:
            raise Refused(400, {"errorMessages": [], "errors": {name: f"{name} is required" for name in missing}})
        made = super().create(kind, fields)
        made["key"] = f"SALES-{made['id']}"
        made["fields"] |= {"created": self._now(), "updated": self._now()}
        return made

    def update(self, kind: str, id: str, fields: Record) -> Record:
        made = super().update(kind, id, fields)
        made["fields"]["updated"] = self._now()
        return made

    def missing(self, kind: str, id: str) -> Refused:
        return Refused(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})

    def routes(self, request: Request) -> Response:
        match request.method:
            case "POST":
                made = self.create("issue", request.body)
                return Response(201, {"id": made["id"], "key": made["key"], "self": "x"})
            case "PUT":
                self.update("issue", request.holes[0], request.body)
                return Response(204)
            case "DELETE":
                self.delete("issue", request.holes[0])
                return Response(204)
        if request.holes:
            return Response(200, _issue(self.need("issue", request.holes[0]), request.query))
        return self._search(request.query)

    def _search(self, query: dict[str, str]) -> Response:
        match = self._JQL.fullmatch(query["jql"])
        if match is None:
            self.violations.append(f"JQL that the mock doesn't know: {query['jql']}")
            raise Refused(400, {"errorMessages": ["Error in the JQL Query"]})
        found = self.all("issue")
        if match["since"]:  # whole minutes are what JQL compares
            since = datetime.fromtimestamp(int(match["since"]) // 60_000 * 60, UTC)
            found = [one for one in found if moment(one["fields"]["updated"]) >= since]
        if match["text"] is not None:
            text = re.sub(r"\\(.)", r"\1", match["text"]).lower()
            found = [one for one in found if text in one["fields"]["summary"].lower()]
        found.sort(key=lambda one: (one["fields"][match["order"]], int(one["id"])))
        begin = int(query.get("nextPageToken", "0"))
        size = min(int(query.get("maxResults", 50)), 100, self.most_in_page)
        is_last = begin + size >= len(found)
        more = {} if is_last else {"nextPageToken": str(begin + size)}
        issues = [_issue(one, query) for one in found[begin : begin + size]]
        return Response(200, {"isLast": is_last, "issues": issues, **more})


def _issue(record: Record, query: dict[str, str]) -> Record:
    names = query["fields"].split(",") if "fields" in query else list(record["fields"])
    return {**record, "fields": {name: record["fields"].get(name) for name in names}}


class MicrosoftLists(VendorMock):
    """Columns under `fields`, as far as $expand asks for them; pages by @odata.nextLink."""

    api, resource, kind = "microsoft-lists", "items", "items"
    connection: ClassVar = {"token": "t", "tenant": "x", "site": "contoso,1,2", "list": "Orders"}
    name_field, note_field = "fields.Title", "fields.Note"
    _EXPAND = re.compile(r"fields\(\$select=([\w,]+)\)")

    def new_id(self) -> str:
        return str(super().new_id())

    def times(self, *, new: bool) -> Record:
        now = iso(self.now())
        return {"createdDateTime": now, "lastModifiedDateTime": now} if new else {"lastModifiedDateTime": now}

    def missing(self, kind: str, id: str) -> Refused:
        return Refused(404, {"error": {"code": "itemNotFound", "message": "The specified list item was not found"}})

    def routes(self, request: Request) -> Response:
        match request.method:
            case "POST":
                return Response(201, self.create("items", request.body))
            case "PATCH":
                return Response(200, self.update("items", request.holes[2], request.body))
            case "DELETE":
                self.delete("items", request.holes[2])
                return Response(204)
        if len(request.holes) > 2:
            return Response(200, self._expanded(self.need("items", request.holes[2]), request.query))
        return self._list(request)

    def _list(self, request: Request) -> Response:
        query, found = request.query, self.all("items")
        if "$filter" in query:
            match = re.fullmatch(r"fields/(\w+) eq '((?:[^']|'')*)'", query["$filter"])
            if match is None or "prefer" not in request.headers:
                raise Refused(400, {"error": {"code": "invalidRequest", "message": query["$filter"]}})
            text = match[2].replace("''", "'").lower()
            found = [one for one in found if str(one["fields"].get(match[1]) or "").lower() == text]
        begin, size = int(query.get("$skip", "0")), min(int(query.get("$top", "200")), self.most_in_page)
        body: dict[str, Any] = {"value": [self._expanded(one, query) for one in found[begin : begin + size]]}
        if begin + size < len(found):
            expand = query.get("$expand", "").replace("$", "%24").replace("=", "%3D")
            body["@odata.nextLink"] = f"{self.base_url}{request.path}?%24expand={expand}&%24skip={begin + size}"
        return Response(200, body)

    def _expanded(self, record: Record, query: dict[str, str]) -> Record:
        match = self._EXPAND.fullmatch(query.get("$expand", ""))
        if match is None:
            return {name: value for name, value in record.items() if name != "fields"}
        names = match[1].split(",")
        return {**record, "fields": {name: record["fields"][name] for name in names if name in record["fields"]}}
