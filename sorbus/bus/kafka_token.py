"""Kafka's OAUTHBEARER login with tokens that a function of the operator's gives, such as Amazon's for MSK's IAM."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

from sorbus.errors import UsageError

_log = logging.getLogger(__name__)
TokenHook = Callable[[str], tuple[str, float]]
"""Takes librdkafka's sasl.oauthbearer.config; gives a token, and when it ends in seconds since 1970."""


def token_login(hook: str) -> dict[str, object]:
    """librdkafka's settings for a login with `hook`, MODULE:FUNCTION. UsageError where there is no such function."""
    return {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": _reporting(_load(hook), hook)}


@cache
def _load(hook: str) -> TokenHook:
    module, _, name = hook.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"SORBUS_KAFKA_TOKEN {hook!r} can't be used: {error}; write MODULE:FUNCTION") from error
    if not callable(found):
        raise UsageError(f"SORBUS_KAFKA_TOKEN {hook!r} is no function")
    return cast("TokenHook", found)


def _reporting(hook: TokenHook, name: str) -> TokenHook:
    """librdkafka asks again after a failure and says nothing of its cause."""

    def token(config: str) -> tuple[str, float]:
        try:
            return hook(config)
        except Exception as error:
            _log.warning("%s gives no token for Kafka: %s: %s", name, type(error).__name__, error)
            raise

    return token
