"""The limits of a pool: those of each deployment, and their sums."""

from __future__ import annotations

from modelwire.transport.ratelimit.limits import Limits

__all__ = ["PoolLimits"]


class PoolLimits(dict[str, Limits]):
    """The known limits by the deployment's name; the properties are sums, None if a part of the sum is unknown."""

    def _sum(self, name: str) -> float | None:
        values: list[float | None] = [getattr(part, name) for part in self.values()]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return sum(known)

    @property
    def requests_per_minute(self) -> float | None:
        return self._sum("requests_per_minute")

    @property
    def tokens_per_minute(self) -> float | None:
        return self._sum("tokens_per_minute")

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {part!r}" for name, part in self.items())
        return f"PoolLimits({parts})"
