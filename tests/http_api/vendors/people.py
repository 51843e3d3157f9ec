"""Mocks of Freshdesk, Mailchimp and BambooHR."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from tests.http_api.vendors.mock import Record, Refused, Request, Response, VendorMock, iso, moment


class Freshdesk(VendorMock):
    """Link headers; tickets of 30 days without updated_since; a list ends after `most_pages` with an error."""

    api, resource, kind = "freshdesk", "contacts", "contacts"
    connection: ClassVar = {"api_key": "k", "domain": "test"}
    name_field, note_field = "email", "job_title"
    more: ClassVar = {"name": "Somebody"}
    most_pages = 300

    def times(self, *, new: bool) -> Record:
        now = iso(self.now())
        return {"created_at": now, "updated_at": now} if new else {"updated_at": now}

    def is_live(self, record: Record) -> bool:
        return not record.get("deleted")

    def delete(self, kind: str, id: str) -> None:
        if kind == "companies":
            super().delete(kind, id)
        else:
            self.need(kind, id).update({"deleted": True, **self.times(new=False)})

    def create(self, kind: str, fields: Record) -> Record:
        taken = [one for one in self.live(kind).values() if fields.get("email") and one.get("email") == fields["email"]]
        if kind == "contacts" and taken:
            raise Refused(409, _invalid("email", "It should be a unique value", "duplicate_value"))
        return super().create(kind, fields)

    def routes(self, request: Request) -> Response:
        kind = request.template.split("/api/v2/")[1].split("/")[0]
        if request.template.endswith("/autocomplete"):
            begin = request.query["name"].lower()
            found = [
                one for one in self.all(kind) if any(word.startswith(begin) for word in _words(one["name"], begin))
            ]
            return Response(200, {"companies": [{"id": one["id"], "name": one["name"]} for one in found]})
        if kind == "search":
            return self._search(request.query)
        match request.method, bool(request.holes):
            case "GET", False:
                return self._list(kind, request)
            case "GET", True:
                found = self.records.get(kind, {}).get(request.holes[0])
                if found is None:
                    return Response(404)
                return Response(200, found)
            case "POST", _:
                return Response(201, self.create(kind, request.body))
        if request.holes[0] not in self.records.get(kind, {}):
            return Response(404)
        if not self.is_live(self.records[kind][request.holes[0]]):
            raise Refused(405, {"message": "PUT method is not allowed. It should be one of these method(s): GET"})
        if request.method == "PUT":
            return Response(200, self.update(kind, request.holes[0], request.body))
        self.delete(kind, request.holes[0])
        return Response(204)

    def _search(self, query: dict[str, str]) -> Response:
        field, _, text = query["query"].strip('"').partition(":")
        found = [one for one in self.all("contacts") if self.is_live(one) and one.get(field) == text.strip("'")]
        page = int(query.get("page", "1"))
        return Response(200, {"total": len(found), "results": found[(page - 1) * 30 : page * 30]})

    def _list(self, kind: str, request: Request) -> Response:
        query = request.query
        found = [one for one in self.all(kind) if self.is_live(one)]
        since = moment(query["updated_since"]) if "updated_since" in query else None
        if kind == "tickets" and since is None:
            month = datetime.now(UTC) - timedelta(days=30)
            found = [one for one in found if moment(one["created_at"]) >= month]
        if since is not None:
            found = [one for one in found if moment(one["updated_at"]) >= since]
        for name in ("email", "phone", "mobile", "requester_id"):
            if name in query:
                found = [one for one in found if str(one.get(name) or "").lower() == query[name].lower()]
        order = query.get("order_by", "created_at")
        found.sort(key=lambda one: (one[order], one["id"]), reverse=query.get("order_type", "desc") == "desc")
        page, size = int(query.get("page", "1")), min(int(query.get("per_page", "30")), 100, self.most_in_page)
        if page > self.most_pages:
            raise Refused(400, _invalid("page", f"You cannot access tickets beyond the {self.most_pages}th page."))
        shown = found[(page - 1) * size : page * size]
        if page * size >= len(found):
            return Response(200, shown)
        rest = "&".join(f"{name}={value}" for name, value in query.items() if name != "page")
        return Response(200, shown, {"link": f'<{self.base_url}{request.path}?{rest}&page={page + 1}>;rel="next"'})


def _words(name: str, begin: str) -> list[str]:
    lowered = name.lower()
    return [lowered] if " " in begin else lowered.split()


def _invalid(field: str, message: str, code: str = "invalid_value") -> Record:
    return {"description": "Validation failed", "errors": [{"field": field, "message": message, "code": code}]}


class Mailchimp(VendorMock):
    """Members by contact id, by address or by its hash; a delete archives; changes are after the time given."""

    api, resource, kind = "mailchimp", "members", "members"
    connection: ClassVar = {"api_key": "k-us1", "datacenter": "us1", "audience": "a1"}
    id_field, name_field, note_field = "contact_id", "email_address", "merge_fields.FNAME"
    more: ClassVar = {"status": "subscribed"}

    def new_id(self) -> str:
        return hashlib.md5(str(super().new_id()).encode(), usedforsecurity=False).hexdigest()

    def times(self, *, new: bool) -> Record:
        return {"last_changed": self.now().isoformat()}

    def is_live(self, record: Record) -> bool:
        return bool(record["status"] != "archived")

    def create(self, kind: str, fields: Record) -> Record:
        address = str(fields["email_address"])
        if "@" not in address:
            detail = f"{address} looks fake or invalid, please enter a real email address."
            raise Refused(400, {"title": "Invalid Resource", "status": 400, "detail": detail})
        if any(one["email_address"].lower() == address.lower() for one in self.all(kind) if self.is_live(one)):
            detail = f"{address} is already a list member. Use PUT to insert or update list members."
            raise Refused(400, {"title": "Member Exists", "status": 400, "detail": detail})
        return super().create(kind, fields)

    def delete(self, kind: str, id: str) -> None:
        self.need(kind, id).update({"status": "archived", **self.times(new=False)})

    def missing(self, kind: str, id: str) -> Refused:
        title = "Resource Not Found"
        return Refused(404, {"title": title, "status": 404, "detail": "The requested resource could not be found."})

    def routes(self, request: Request) -> Response:
        if len(request.holes) == 1 and request.method == "GET":
            return self._list(request.query)
        if len(request.holes) == 1:
            return Response(200, self.create("members", request.body))
        record = self._by(request.holes[1])
        match request.method:
            case "GET":
                return Response(200, record)
            case "PATCH":
                return Response(200, self.update("members", record["contact_id"], request.body))
        self.delete("members", record["contact_id"])
        return Response(204)

    def _by(self, named: str) -> Record:
        for one in self.all("members"):
            address = one["email_address"].lower()
            digest = hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
            if named.lower() in (one["contact_id"], address, digest):
                return one
        raise self.missing("members", named)

    def _list(self, query: dict[str, str]) -> Response:
        found = [one for one in self.all("members") if self.is_live(one)]
        if "since_last_changed" in query:
            since = moment(query["since_last_changed"])
            found = [one for one in self.all("members") if moment(one["last_changed"]) > since]
        if "sort_field" in query:
            found.sort(key=lambda one: one[query["sort_field"]], reverse=query.get("sort_dir") == "DESC")
        begin, size = int(query.get("offset", "0")), min(int(query.get("count", "10")), 1000, self.most_in_page)
        return Response(200, {"members": found[begin : begin + size], "total_items": len(found), "list_id": "a1"})


class BambooHR(VendorMock):
    """All employees by a report, with a filter by time; a new one's id is in Location only; nobody is deleted by it."""

    api, resource, kind = "bamboohr", "employees", "employees"
    connection: ClassVar = {"api_key": "k", "company": "test"}
    name_field, note_field = "lastName", "city"
    more: ClassVar = {"firstName": "Ada"}

    def new_id(self) -> str:
        return str(super().new_id())

    def times(self, *, new: bool) -> Record:
        return {"lastChanged": self.now().isoformat()}

    def missing(self, kind: str, id: str) -> Refused:
        return Refused(404, None)

    def routes(self, request: Request) -> Response:
        if request.template.endswith("/reports/custom"):
            return self._report(request.body)
        if request.method == "POST" and not request.holes:
            made = self.create("employees", request.body)
            return Response(201, None, {"Location": f"{self.base_url}/api/v1/employees/{made['id']}"})
        if request.method == "POST":
            self.update("employees", request.holes[0], request.body)
            return Response(200)
        if request.holes:
            return Response(200, self._picked(self.need("employees", request.holes[0]), request.query["fields"]))
        text = request.query["filter[lastName]"].lower()
        found = [one for one in self.all("employees") if text in str(one.get("lastName")).lower()]
        return Response(200, {"data": [{"employeeId": one["id"], "lastName": one["lastName"]} for one in found]})

    def _report(self, body: Record) -> Response:
        found = self.all("employees")
        if changed := body.get("filters", {}).get("lastChanged"):
            found = [one for one in found if moment(one["lastChanged"]) >= moment(changed["value"])]
        rows = [self._picked(one, ",".join(body["fields"])) for one in found]
        return Response(200, {"title": body["title"], "fields": [], "employees": rows})

    def _picked(self, record: Record, fields: str) -> Record:
        return {"id": record["id"], **{name: record.get(name) for name in fields.split(",")}}
