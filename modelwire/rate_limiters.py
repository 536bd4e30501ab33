"""Rate limiters: they limit how many calls a second a program makes, independent of the provider's limits.

modelwire observes a provider's limits without them; a rate limiter is for a limit that you choose.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from threading import Lock
from typing import Any

from modelwire.errors import InvalidArgument

__all__ = ["BaseRateLimiter", "InMemoryRateLimiter"]


class BaseRateLimiter(ABC):
    """The interface of a rate limiter; a model with `rate_limiter=` calls `acquire` before each call."""

    @abstractmethod
    def acquire(self, *, blocking: bool = True) -> bool:
        """Acquire a permit for one call. If `blocking`, wait for it; otherwise return whether it was acquired."""

    @abstractmethod
    async def aacquire(self, *, blocking: bool = True) -> bool:
        """Acquire a permit for one call. If `blocking`, wait for it; otherwise return whether it was acquired."""


class InMemoryRateLimiter(BaseRateLimiter):
    """A bucket of tokens that is filled at `requests_per_second`, up to `max_bucket_size`. Each call takes one token.

    The bucket starts empty. A waiting call checks it every `check_every_n_seconds`. The threads and event loops of a
    process share a limiter; other processes do not.
    """

    def __init__(
        self,
        *,
        requests_per_second: float = 1,
        check_every_n_seconds: float = 0.1,
        max_bucket_size: float = 1,
    ) -> None:
        for name, value in (
            ("requests_per_second", requests_per_second),
            ("check_every_n_seconds", check_every_n_seconds),
        ):
            if not value > 0:
                raise InvalidArgument(f"`{name}` must be more than 0; it is {value!r}.")
        if not max_bucket_size >= 1:
            raise InvalidArgument(
                f"`max_bucket_size` must be at least 1, or no call is ever made; it is {max_bucket_size!r}."
            )
        self.requests_per_second = requests_per_second
        self.check_every_n_seconds = check_every_n_seconds
        self.max_bucket_size = max_bucket_size
        self.available_tokens = 0.0
        # The reading of `time.monotonic()` when the bucket was last filled.
        self.last: float | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def acquire(self, *, blocking: bool = True) -> bool:
        """Take one token. If `blocking`, wait for it; otherwise return whether there was one."""
        while not self._take():
            if not blocking:
                return False
            time.sleep(self.check_every_n_seconds)
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        """Take one token. If `blocking`, wait for it; otherwise return whether there was one."""
        import asyncio

        while not self._take():
            if not blocking:
                return False
            await asyncio.sleep(self.check_every_n_seconds)
        return True

    def _take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self.last is None:
                self.last = now
            gained = (now - self.last) * self.requests_per_second
            # The bucket gains at least one token at a time, so that frequent checks lose no fractions by rounding.
            if gained >= 1:
                self.available_tokens = min(self.available_tokens + gained, self.max_bucket_size)
                self.last = now
            if self.available_tokens < 1:
                return False
            self.available_tokens -= 1
            return True
