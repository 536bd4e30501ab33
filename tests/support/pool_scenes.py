"""The ten scenes of a pool: what each deployment is like."""

from __future__ import annotations

import math
from typing import Any

from support.simulated_provider import TokenBucket

Scene = list[dict[str, Any]]


def rate(*steps: tuple[float, float], burst_s: float = 1.0) -> TokenBucket:
    return TokenBucket(steps, burst_s)


def limited(per_s: float, **settings: Any) -> dict[str, Any]:
    return {"requests": rate((0.0, per_s)), **settings}


def down(start: float, end: float, status: int = 503) -> dict[str, Any]:
    return {"outages": [(start, end, status)]}


SCENES: dict[str, Scene] = {
    "unequal limits": [limited(20), limited(10), limited(2)],
    "one down": [limited(10), limited(10), limited(10, outages=[(20.0, math.inf, 0)])],
    "one slow": [limited(10), limited(10), limited(10, latency_s=9.0)],
    "random 429": [limited(10, refuses=(429, 0.01)) for _ in range(3)],
    "cold start": [limited(30, headers="retry-after") for _ in range(3)],
    "a limit that falls": [
        {"requests": rate((0.0, 15.0), (40.0, 5.0))},
        limited(10),
        limited(10),
    ],
    "all down for 20 s": [limited(10, outages=[(30.0, 50.0, 500)]) for _ in range(3)],
    "all down for 20 s (503)": [limited(10, outages=[(30.0, 50.0, 503)]) for _ in range(3)],
    "two regions, quota by region": [
        limited(15, headers="full"),
        limited(15, headers="full", latency_s=2.4),
    ],
    "one key revoked": [limited(10), limited(10), limited(10, outages=[(30.0, math.inf, 401)])],
    "long answers": [limited(10, latency_s=15.0) for _ in range(3)],
}
