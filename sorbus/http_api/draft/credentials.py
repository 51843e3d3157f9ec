"""How an application seems to authenticate, from its OpenAPI file's security schemes."""

from __future__ import annotations

import re

from pydantic import JsonValue

from sorbus.http_api.draft.notes import Draft
from sorbus.http_api.openapi import Node, Spec

_HOLE = re.compile(r"\{([^{}]+)\}")


def settings_in(text: str) -> list[str]:
    """The placeholders of an address."""
    return list(dict.fromkeys(_HOLE.findall(text)))


def auth_of(spec: Spec, draft: Draft) -> None:
    """Writes `auth` and `other_auth`."""
    found = [made for name, scheme in spec.security.items() if (made := _auth(name, scheme)) is not None]
    found.sort(key=lambda one: ["bearer", "api-key", "basic", "oauth2"].index(str(one["kind"])))
    if not found:
        todo = draft.todo("auth", "kind: api-key, basic, bearer or oauth2, as the vendor's documents say")
        draft.data["auth"] = {"kind": todo}
        return
    draft.data["auth"] = found[0]
    why = "the file's security schemes" if len(found) > 1 else "the file's security scheme"
    draft.guess("auth", found[0]["kind"], f"{why}; say in doc: where a person gets the credentials")
    if len(found) > 1:
        draft.data["other_auth"] = list(found[1:])


def _auth(name: str, scheme: Node) -> dict[str, JsonValue] | None:
    kind, said = scheme.get("type"), f"from the file's scheme {name}"
    if kind == "apiKey" and scheme.get("in") in ("header", "query"):
        key = str(scheme.get("name"))
        if key.lower() == "authorization":  # the word before the key is only in the description, if anywhere
            words = re.search(r"\b(Bearer|Token|Basic|ApiKey)\b", str(scheme.get("description") or ""), re.IGNORECASE)
            prefix = f"{words[1]} " if words else ""
            return {"kind": "api-key", "header": key, **({"prefix": prefix} if prefix else {}), "doc": said}
        where = "header" if scheme["in"] == "header" else "parameter"
        return {"kind": "api-key", where: key, "doc": said}
    if kind == "basic" or (kind == "http" and str(scheme.get("scheme")).lower() == "basic"):
        return {"kind": "basic", "doc": said}
    if kind == "http" and str(scheme.get("scheme")).lower() == "bearer":
        return {"kind": "bearer", "doc": said}
    return _oauth2(scheme, said) if kind == "oauth2" else None


def _oauth2(scheme: Node, said: str) -> dict[str, JsonValue] | None:
    flows: Node = scheme.get("flows") or {str(scheme.get("flow")): scheme}
    names = {"authorizationCode": "refresh_token", "accessCode": "refresh_token"}
    names |= {"clientCredentials": "client_credentials", "application": "client_credentials"}
    usable = [(names[flow], about) for flow, about in flows.items() if flow in names and about.get("tokenUrl")]
    if not usable:
        return None
    about = usable[0][1]
    made: dict[str, JsonValue] = {"kind": "oauth2", "token_url": str(about["tokenUrl"])}
    if url := next((each.get("authorizationUrl") for _, each in usable if each.get("authorizationUrl")), None):
        made["authorize_url"] = str(url)
    scopes: Node = about.get("scopes") or {}
    made["scopes"] = [str(scope) for scope in list(scopes)[:20]]
    made["grants"] = list(dict.fromkeys(grant for grant, _ in usable))
    return {**made, "doc": said}
