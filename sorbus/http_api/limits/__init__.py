"""Protection of an HTTP API: its rate limits and a circuit breaker, shared by all processes."""

from sorbus.http_api.limits.breaker import Breaker
from sorbus.http_api.limits.limiter import Limiter

__all__ = ["Breaker", "Limiter"]
