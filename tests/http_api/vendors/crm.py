"""Mocks of CRMs: Pipedrive, Zoho CRM, Salesforce. What they do is from their documents, named beside it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar

from tests.http_api.vendors.mock import Record, Refused, Request, Response, VendorMock, iso, moment


class Pipedrive(VendorMock):
    """Cursor pages; a delete marks the record; an exact search is blind to case and answers summaries."""

    api, resource, kind = "pipedrive", "organizations", "organizations"
    connection: ClassVar = {"api_key": "k"}
    name_field, note_field = "name", "website"

    def times(self, *, new: bool) -> Record:
        now = iso(self.now())
        return {"add_time": now, "update_time": now, "is_deleted": False} if new else {"update_time": now}

    def is_live(self, record: Record) -> bool:
        return not record.get("is_deleted")

    def delete(self, kind: str, id: str) -> None:
        self.need(kind, id).update({"is_deleted": True, **self.times(new=False)})

    def missing(self, kind: str, id: str) -> Refused:
        return Refused(404, {"success": False, "error": f"{kind} {id} not found"})

    def routes(self, request: Request) -> Response:
        kind, *rest = request.template.strip("/").split("/")
        match request.method, rest:
            case "GET", []:
                return self._list(kind, request.query)
            case "GET", ["search"]:
                return self._search(kind, request.query)
            case "GET", [_]:
                found = self.records.get(kind, {}).get(request.holes[0])
                if found is None:
                    raise self.missing(kind, request.holes[0])
                return _data(found)
            case "POST", []:
                return _data(self.create(kind, request.body))
            case "PATCH", [_]:
                return _data(self.update(kind, request.holes[0], request.body))
        self.delete(kind, request.holes[0])
        return _data({"id": int(request.holes[0])})

    def _list(self, kind: str, query: dict[str, str]) -> Response:
        found = [one for one in self.all(kind) if self.is_live(one)]
        if "updated_since" in query:  # "later than or equal to this time", RFC 3339
            since = moment(query["updated_since"])
            found = [one for one in found if moment(one["update_time"]) >= since]
        by = query.get("sort_by", "id")
        found.sort(key=lambda one: (one[by], one["id"]))
        begin, size = int(query.get("cursor", "c0")[1:]), min(int(query.get("limit", 100)), 500, self.most_in_page)
        following = f"c{begin + size}" if begin + size < len(found) else None
        return Response(
            200,
            {"success": True, "data": found[begin : begin + size], "additional_data": {"next_cursor": following}},
        )

    def _search(self, kind: str, query: dict[str, str]) -> Response:
        field, term = query["fields"], query["term"].lower()
        if len(term) < (1 if query.get("exact_match") == "true" else 2):
            raise Refused(400, {"success": False, "error": "Search term must have at least 2 characters"})
        found = [one for one in self.all(kind) if self.is_live(one) and term in _texts(one, field)]
        items = [{"result_score": 1.0, "item": {"id": one["id"], "type": kind}} for one in found]
        return Response(200, {"success": True, "data": {"items": items}, "additional_data": {"next_cursor": None}})


def _data(record: Record) -> Response:
    return Response(200, {"success": True, "data": record})


def _texts(record: Record, field: str) -> list[str]:
    found = record.get({"email": "emails", "phone": "phones"}.get(field, field))
    return [str(each["value"] if isinstance(each, dict) else each).lower() for each in _listed(found)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


class Zoho(VendorMock):
    """Nothing found is 204; changes by If-Modified-Since (304 for none); answers of writes name the id alone."""

    api, resource, kind = "zoho-crm", "accounts", "Accounts"
    connection: ClassVar = {"token": "t"}
    name_field, note_field = "Account_Name", "Website"
    _NEEDED: ClassVar = {"Accounts": ["Account_Name"], "Contacts": ["Last_Name"], "Deals": ["Deal_Name", "Stage"]}

    def new_id(self) -> str:
        return str(5725767000000000000 + super().new_id())

    def times(self, *, new: bool) -> Record:
        now = self.now().isoformat()
        return {"Created_Time": now, "Modified_Time": now} if new else {"Modified_Time": now}

    def routes(self, request: Request) -> Response:
        kind = request.holes[0]
        if request.template.endswith("/search"):
            return self._search(kind, request.query)
        if request.method == "GET" and len(request.holes) == 1:
            return self._list(kind, request)
        if request.method == "GET":
            found = self.records.get(kind, {}).get(request.holes[1])
            return Response(204) if found is None else Response(200, {"data": [_only(found, request.query)]})
        if request.method == "DELETE":
            self._known(kind, request.holes[1])
            self.delete(kind, request.holes[1])
            return self._done(request.holes[1])
        sent = request.body["data"][0]
        for name in self._NEEDED[kind] if request.method == "POST" else ():
            if not sent.get(name):
                raise Refused(400, _error("MANDATORY_NOT_FOUND", "required field not found", api_name=name))
        if request.method == "POST":
            return self._done(self.key(self.create(kind, sent)), 201)
        self._known(kind, request.holes[1])
        self.update(kind, request.holes[1], sent)
        return self._done(request.holes[1])

    def _known(self, kind: str, id: str) -> None:
        if id not in self.records.get(kind, {}):
            raise Refused(400, _error("INVALID_DATA", "the id given seems to be invalid", api_name="id"))

    def _done(self, id: str, status: int = 200) -> Response:
        return Response(status, {"data": [{"code": "SUCCESS", "status": "success", "details": {"id": id}}]})

    def _list(self, kind: str, request: Request) -> Response:
        found, query = self.all(kind), request.query
        if "fields" not in query:
            raise Refused(400, {"status": "error", "code": "REQUIRED_PARAM_MISSING", "message": "fields"})
        if since := request.headers.get("if-modified-since"):
            found = [one for one in found if moment(one["Modified_Time"]) > moment(since)]
            if not found:
                return Response(304)
        if not found:
            return Response(204)
        found.sort(key=lambda one: (one[query.get("sort_by", "id")], one["id"]))
        begin = int(query.get("page_token", "0"))
        size = min(int(query.get("per_page", 200)), 200, self.most_in_page)
        more = begin + size < len(found)
        info = {"more_records": more, "next_page_token": str(begin + size) if more else None, "per_page": size}
        return Response(200, {"data": [_only(one, query) for one in found[begin : begin + size]], "info": info})

    def _search(self, kind: str, query: dict[str, str]) -> Response:
        word = next(query[name] for name in ("email", "phone", "word") if name in query).lower()
        found = [one for one in self.all(kind) if any(word in str(value).lower() for value in one.values())]
        return Response(200, {"data": found, "info": {"more_records": False}}) if found else Response(204)


def _only(record: Record, query: dict[str, str]) -> Record:
    names = {*query["fields"].split(","), "id"} if "fields" in query else set(record)
    return {name: record.get(name) for name in names}


def _error(code: str, message: str, **details: str) -> Record:
    return {"data": [{"code": code, "status": "error", "message": message, "details": details}]}


class Salesforce(VendorMock):
    """SOQL as far as Sorbus writes it, in pages by nextRecordsUrl; queryAll shows what was deleted."""

    api, resource, kind = "salesforce", "accounts", "Account"
    connection: ClassVar = {"token": "t", "domain": "test"}
    id_field, name_field, note_field = "Id", "Name", "Website"
    _QUERY = re.compile(
        r"SELECT (?P<fields>[\w,]+) FROM (?P<kind>\w+)"
        r"(?: WHERE (?P<field>\w+) (?P<op>=|>=) (?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<time>[0-9T:Z.-]+)))?"
        r"(?: ORDER BY (?P<order>[\w, ]+))?"
    )

    def new_id(self) -> str:
        return f"001{super().new_id():015d}"

    def times(self, *, new: bool) -> Record:
        now = self.now().strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        made = {"CreatedDate": now, "IsDeleted": False} if new else {}
        return {**made, "SystemModstamp": now}

    def is_live(self, record: Record) -> bool:
        return not record["IsDeleted"]

    def delete(self, kind: str, id: str) -> None:
        self.need(kind, id).update({"IsDeleted": True, **self.times(new=False)})

    def missing(self, kind: str, id: str) -> Refused:
        gone = self.records.get(kind, {}).get(id) is not None
        code = "ENTITY_IS_DELETED" if gone else "NOT_FOUND"
        return Refused(404, [{"errorCode": code, "message": "entity is deleted" if gone else "not found"}])

    def routes(self, request: Request) -> Response:
        if "/sobjects/" not in request.template:
            return self._query(request)
        kind = request.template.split("/sobjects/")[1].split("/")[0]
        match request.method:
            case "POST":
                return Response(201, {"id": self.create(kind, request.body)["Id"], "success": True, "errors": []})
            case "GET":
                return Response(200, _picked(self.need(kind, request.holes[0]), request.query["fields"].split(",")))
            case "PATCH":
                self.update(kind, request.holes[0], request.body)
            case "DELETE":
                self.delete(kind, request.holes[0])
        return Response(204)

    def _read(self, asked: Any) -> Request:
        match = re.fullmatch(r"/services/data/v64\.0/query/(\w+)-(\d+)-(\d+)", asked.path)
        if not match:
            return super()._read(asked)
        return Request(asked.method, "more", list(match.groups()), {}, {}, None, asked.path)

    def _query(self, request: Request) -> Response:
        if request.template == "more":
            locator, begin = f"{request.holes[0]}-{request.holes[1]}", int(request.holes[2])
            found = self._found[locator]
        else:
            match = self._QUERY.fullmatch(request.query["q"])
            if match is None:
                self.violations.append(f"malformed SOQL: {request.query['q']}")
                raise Refused(400, [{"errorCode": "MALFORMED_QUERY", "message": request.query["q"]}])
            locator, begin = f"q-{len(self._found)}", 0
            found = self._found[locator] = self._select(match, everything="queryAll" in request.template)
        size = min(2000, self.most_in_page)
        is_last = begin + size >= len(found)
        more = {} if is_last else {"nextRecordsUrl": f"/services/data/v64.0/query/{locator}-{begin + size}"}
        return Response(200, {"totalSize": len(found), "done": is_last, "records": found[begin : begin + size], **more})

    def _select(self, match: re.Match[str], *, everything: bool) -> list[Record]:
        found = [one for one in self.all(match["kind"]) if everything or self.is_live(one)]
        if match["text"] is not None:
            text = re.sub(r"\\(.)", r"\1", match["text"]).lower()
            found = [one for one in found if str(one.get(match["field"]) or "").lower() == text]
        elif match["time"]:
            found = [one for one in found if _sf(one[match["field"]]) >= moment(match["time"])]
        if match["order"]:
            found.sort(key=lambda one: tuple(one[name] for name in match["order"].replace(" ", "").split(",")))
        return [_picked(one, match["fields"].split(",")) for one in found]

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[Record]] = {}


def _picked(record: Record, names: list[str]) -> Record:
    return {"attributes": {"type": "x"}, **{name: record.get(name) for name in names}}


def _sf(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
