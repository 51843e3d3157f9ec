"""Mocks of WooCommerce and Odoo."""

from __future__ import annotations

from collections.abc import Callable
from operator import eq, ge
from typing import Any, ClassVar

from tests.http_api.vendors.mock import Record, Refused, Request, Response, VendorMock, moment


class WooCommerce(VendorMock):
    """Pages of at most 100 and X-WP-Total; modified_after is in the shop's time unless dates_are_gmt is true."""

    api, resource, kind = "woocommerce", "products", "products"
    connection: ClassVar = {"username": "ck", "password": "cs"}
    name_field, note_field = "sku", "description"

    def times(self, *, new: bool) -> Record:
        now = self.now().strftime("%Y-%m-%dT%H:%M:%S")
        return {"date_created_gmt": now, "date_modified_gmt": None} if new else {"date_modified_gmt": now}

    def is_live(self, record: Record) -> bool:
        return record.get("status") != "trash"

    def missing(self, kind: str, id: str) -> Refused:
        body = {"code": f"woocommerce_rest_{kind[:-1]}_invalid_id", "message": "Invalid ID.", "data": {"status": 404}}
        return Refused(404, body)

    def create(self, kind: str, fields: Record) -> Record:
        if fields.get("sku") and any(one.get("sku") == fields["sku"] for one in self.live(kind).values()):
            body = {"code": "product_invalid_sku", "message": "Invalid or duplicated SKU.", "data": {"status": 400}}
            raise Refused(400, body)
        return super().create(kind, {"status": "publish", **fields})

    def delete(self, kind: str, id: str) -> None:
        if kind == "customers":
            super().delete(kind, id)
        else:
            self.need(kind, id).update({"status": "trash", **self.times(new=False)})

    def routes(self, request: Request) -> Response:
        kind = request.template.split("/wc/v3/")[1].split("/")[0]
        match request.method:
            case "POST":
                return Response(201, self.create(kind, request.body))
            case "PUT":
                return Response(200, self.update(kind, request.holes[0], request.body))
            case "DELETE":
                if kind == "customers" and request.query.get("force") != "true":
                    raise Refused(501, {"code": "woocommerce_rest_trash_not_supported", "message": "no trash"})
                gone = self.need(kind, request.holes[0])
                self.delete(kind, request.holes[0])
                return Response(200, gone)
        if request.holes:
            return Response(200, self.need(kind, request.holes[0]))
        return self._list(kind, request.query)

    def _list(self, kind: str, query: dict[str, str]) -> Response:
        size = min(int(query.get("per_page", "10")), self.most_in_page)
        if not 1 <= int(query.get("per_page", "10")) <= 100:
            raise Refused(400, {"code": "rest_invalid_param", "message": "Invalid parameter(s): per_page"})
        found = [one for one in self.all(kind) if self.is_live(one)]
        if "modified_after" in query:
            if query.get("dates_are_gmt") != "true" or query["modified_after"].endswith("Z"):
                self.violations.append(f"modified_after in the shop's own time zone: {query}")
            since = moment(query["modified_after"])
            found = [one for one in found if moment(one["date_modified_gmt"] or one["date_created_gmt"]) > since]
        for name in ("sku", "email"):
            if name in query:
                found = [one for one in found if str(one.get(name) or "").lower() == query[name].lower()]
        if "search" in query:
            found = [one for one in found if query["search"].lower() in str(one).lower()]
        page = int(query.get("page", "1"))
        total = {"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(-(-len(found) // size))}
        return Response(200, found[(page - 1) * size : page * size], total)


class Odoo(VendorMock):
    """POST model/method; domains of =, >= ; false for what is empty; a link is [id, name] when it is read."""

    api, resource, kind = "odoo", "contacts", "res.partner"
    connection: ClassVar = {"token": "k", "database": "test"}
    name_field, note_field = "name", "city"
    _LINKS = ("state_id", "country_id", "parent_id", "categ_id", "uom_id")
    _OPERATORS: ClassVar[dict[str, Callable[[Any, Any], bool]]] = {"=": eq, ">=": ge}

    def times(self, *, new: bool) -> Record:
        now = self.now().strftime("%Y-%m-%d %H:%M:%S")
        return {"create_date": now, "write_date": now, "active": True} if new else {"write_date": now}

    def is_live(self, record: Record) -> bool:
        return bool(record["active"])

    def missing(self, kind: str, id: str) -> Refused:
        message = f"Record does not exist or has been deleted. (Record: {kind}({id},))"
        return Refused(404, {"name": "odoo.exceptions.MissingError", "message": message, "arguments": [message]})

    def need(self, kind: str, id: str) -> Record:
        found = self.records.get(kind, {}).get(id)
        if found is None:
            raise self.missing(kind, id)
        return found

    def routes(self, request: Request) -> Response:
        if request.headers.get("x-odoo-database") != "test":
            raise Refused(404, {"name": "werkzeug.exceptions.NotFound", "message": "no database"})
        _, _, _, kind, method = request.template.split("/")
        body = request.body
        match method:
            case "search_read":
                return Response(200, self._found(kind, body))
            case "read":
                return Response(200, [self._read_one(self.need(kind, str(id)), body["fields"]) for id in body["ids"]])
            case "create":
                return Response(200, [self.create(kind, one)["id"] for one in body["vals_list"]])
            case "write":
                for id in body["ids"]:
                    self.update(kind, str(id), body["vals"])
            case "unlink":
                for id in body["ids"]:
                    self.delete(kind, str(id))
        return Response(200, True)

    def _found(self, kind: str, body: Record) -> list[Record]:
        active_test = body.get("context", {}).get("active_test", True)
        found = [one for one in self.all(kind) if one["active"] or not active_test]
        for field, operator, value in body["domain"]:
            test = self._OPERATORS[operator]
            found = [one for one in found if one.get(field) and test(one[field], value)]
        names = [part.split()[0] for part in body.get("order", "id asc").split(",")]
        found.sort(key=lambda one: tuple(one[name.strip()] for name in names))
        begin, size = body.get("offset", 0), min(body.get("limit", 10**6), self.most_in_page)
        return [self._read_one(one, body["fields"]) for one in found[begin : begin + size]]

    def _read_one(self, record: Record, names: list[str]) -> Record:
        shown: Record = {"id": record["id"]}
        for name in names:
            value = record.get(name)
            is_empty = value is None or value == ""
            shown[name] = False if is_empty else [value, "Name"] if name in self._LINKS else value
        return shown
