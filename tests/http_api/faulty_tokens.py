"""The faulty application's OAuth2 side: a token endpoint as vendors have it."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field

from tests.http_api.faulty_records import Record


@dataclass(slots=True)
class Tokens:
    """OAuth2 with refresh tokens that change at every use (RFC 6749, 6)."""

    client_id: str = "sorbus-test"
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    refresh_token: str = field(default_factory=lambda: "r0-" + secrets.token_urlsafe(24), repr=False)
    lasts: float = 1800.0
    previous_lasts: float = 0.0
    rotates: bool = True
    revoked: bool = False
    issued: int = 0
    refused: int = 0
    reused: int = 0
    access: dict[str, float] = field(default_factory=dict, repr=False)
    former: dict[str, float] = field(default_factory=dict, repr=False)

    def answer(self, form: dict[str, str], basic: str) -> tuple[int, Record]:
        """The token endpoint's answer."""
        named = base64.b64decode(basic).decode() if basic else f"{form.get('client_id')}:{form.get('client_secret')}"
        if named != f"{self.client_id}:{self.client_secret}":
            self.refused += 1
            return 401, {"error": "invalid_client"}
        grant = form.get("grant_type")
        if grant == "refresh_token":
            given = form.get("refresh_token", "")
            graced = self.former.get(given, 0.0) > time.monotonic()
            if self.revoked or (given != self.refresh_token and not graced):
                self.refused += 1
                self.reused += given in self.former
                return 400, {"error": "invalid_grant", "error_description": "refresh token is revoked or used up"}
            if self.rotates and not graced:
                self.former[self.refresh_token] = time.monotonic() + self.previous_lasts
                self.refresh_token = f"r{self.issued + 1}-" + secrets.token_urlsafe(24)
        elif grant != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        self.issued += 1
        access = f"a{self.issued}-" + secrets.token_urlsafe(24)
        self.access[access] = time.monotonic() + self.lasts
        found = {"access_token": access, "token_type": "Bearer", "expires_in": int(self.lasts)}
        return 200, found | ({"refresh_token": self.refresh_token} if grant == "refresh_token" else {})

    def expire(self) -> None:
        """Every access token so far is worth nothing from now on."""
        self.access.clear()
