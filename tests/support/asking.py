"""Asks a limiter to send, as a flow does."""

from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter


def ask(
    limiter: AdaptiveRateLimiter,
    now: float,
    *,
    again: bool = False,
    patient: bool = False,
    size: int = 0,
    max_output: int | None = None,
) -> Admission:
    """Return the admission: it is granted, or waits from now on."""
    admission = Admission(now, again=again, patient=patient, size=size, max_output=max_output)
    limiter.admit(admission)
    return admission
