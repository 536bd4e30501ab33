"""What a limiter sends while a fleet decides. Replies are made here: tests/fleet has real ones."""

from __future__ import annotations

from random import Random
from typing import Any

from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.lease import Lease
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

PUBLISHED = {
    "pace": 10.0,
    "paused_until": 0.0,
    "is_probing": False,
    "closed_at": None,
    "pauses": 0,
    "most": 1.0,
    "epoch": 0,
    "is_outage": False,
    "is_proven": True,
    "is_ramping": False,
}


def reply(now: float, *, slots: int, places: float) -> dict[str, Any]:
    """Return a reply of the server to the only member of a fleet, whose slots begin now."""
    return {
        "report": {"sent": 0, "answered": 0, "events": [], "rejected": ""},
        "members": 1,
        "active": 1,
        "pub": PUBLISHED,
        "rejected": "",
        "now": now,
        "is_held": False,
        "may_probe": False,
        "places": places,
        "slots": slots,
        "first_slot": now,
        "share": 1.0,
    }


def ask(limiter: AdaptiveRateLimiter, now: float) -> Admission:
    admission = Admission(now, again=False, patient=True, size=1, max_output=1)
    limiter.admit(admission)
    limiter.poll(admission, now)
    return admission


def test_the_time_without_a_free_place_earns_no_request_beyond_the_slots() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1), name="a")
    lease = Lease(limiter, 0.0, Random(1))
    lease.rate.level = 0.0  # A new limiter may send one request before it knows anything.
    lease.apply(reply(0.0, slots=1, places=1.0), 0.0, 0.0)
    first, second = ask(limiter, 0.0), ask(limiter, 0.0)
    assert (first.granted, second.granted) == (True, False)
    for tenth in range(1, 4):
        limiter.poll(second, tenth / 10)
    limiter.answered(first, 0.35)
    limiter.leave(first, 0.35)
    limiter.poll(second, 0.35)
    assert not second.granted
    lease.apply(reply(0.4, slots=1, places=1.0), 0.4, 0.4)
    limiter.poll(second, 0.4)
    assert second.granted
