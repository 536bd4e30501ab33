"""Tracks whether the provider fails for all callers, and how long batch rows wait for it. No I/O and no clock here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.gate import Gate

# Rows of a batch wait this long for a provider that has answered before.
PATIENCE_S = 600.0
# Rows of a batch wait this long for a provider that has never answered.
_UNPROVEN_PATIENCE_S = 60.0
# A wait of this length is reported.
_REPORT_AFTER_S = 30.0


class Outage:
    """The state of an outage. `is_on` is True while nearly all requests of all callers fail."""

    __slots__ = ("_reported", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        # This identifies the wait that was last reported: the time at which it began, or ends.
        self._reported: float | None = None

    def gave_up(self, gate: Gate, now: float, *, proven: bool) -> bool:
        """Return whether the outage has lasted so long that queued rows fail too; single probes continue.

        `proven` is True if the provider has answered any request before.
        """
        patience_s = PATIENCE_S if proven else _UNPROVEN_PATIENCE_S
        return self.is_on and gate.closed_at is not None and now - gate.closed_at >= patience_s

    def stall_message(self, gate: Gate, now: float) -> str | None:
        """Return a text about a long wait of all requests; None if there is none, or it was already reported."""
        closed_at = gate.closed_at
        paused_until = gate.paused_until
        if closed_at is not None and now - closed_at >= _REPORT_AFTER_S:
            wait = f"nothing has got through for {now - closed_at:.3g} s"
        elif paused_until - now >= _REPORT_AFTER_S:
            wait = f"no request may go out for {paused_until - now:.3g} s"
        else:
            return None
        same = paused_until if closed_at is None else closed_at
        if same == self._reported:
            return None
        self._reported = same
        return wait
