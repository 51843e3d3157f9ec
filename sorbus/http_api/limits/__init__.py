"""What keeps us a good guest of a system behind HTTP: its rate limits and a circuit breaker, for all processes."""

from sorbus.http_api.limits.breaker import Breaker
from sorbus.http_api.limits.limiter import Limiter

__all__ = ["Breaker", "Limiter"]
