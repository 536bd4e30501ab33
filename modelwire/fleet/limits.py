"""Limits that all processes of a fleet share: one daemon thread renews the leases of this process's limiters.

The state of a limiter is a text on the server, with a version: what was learned about the limits of the provider
(`shared_congestion.py` of the core makes and reads it). Beside it, the server has what its script needs: the pace, the
time of the next free *slot*, the members and their latest reports. One script does a renewal in one round trip:

1. It counts what the member has sent, and how many answers it had, and stores what it has seen (refusals, recoveries).
2. It gives the member slots: times, at even intervals over all members, at which one request may be sent each. They lie
   at most 0.25 s ahead, and no member gets more than its part of them while others wait. So all members together send
   at the shared pace, however many they are, and the slots of a member that dies are few.
3. It gives the member its part of the requests that may be in flight, and one member the right to send a probe.
4. If something was seen, or the pace grows, it gives the member a *turn*: that one brings the text up to date, with the
   rules of an ordinary limiter, and stores it with its next renewal, at once. A turn that is not used lapses.

A lease is renewed every 0.1 s, and at once after a refusal; a cut of the pace is published, so that all members renew.
If its renewals fail, a member keeps its lease for 0.5 s, and then continues alone with 1/n of the known limits, where
n is the number of members. A server that has lost its data gets the text from the first member that knows a later
version. All times are those of the server's clock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from hashlib import pbkdf2_hmac
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any
from uuid import uuid4

from modelwire.aliases import JSON
from modelwire.fleet.connection import Away, Connection, Script

# A lease is renewed at this interval while calls run.
_RENEW_S = 0.1
# It is renewed at this interval while no limit is known, because the fleet must learn of a refusal soon.
_RAMP_RENEW_S = 0.05
# It is renewed at this interval while no calls run.
_IDLE_RENEW_S = 0.25
# It is renewed this soon after the last time if a call waits for it.
_SOON_S = 0.025
# It is renewed this soon after the last time if the fleet must learn of a refusal.
_NEWS_S = 0.005
# Closing waits at most this long for a renewal that runs.
_END_S = 1.0
# After this time a lost subscription is made again.
_LISTEN_AGAIN_S = 1.0
# Large fleets renew less often: this many members at the first interval.
_MEMBERS_AT_ONCE = 30
# PBKDF2 makes this many rounds, so that it takes long to guess a short key by its digest.
_ROUNDS = 10_000

# A member needs these fields of the reply for its turn, besides the state and the events.
_NEWS = ("now", "sent", "answered", "in_flight", "members", "is_waiting", "ceiling")

_RENEW = Script((Path(__file__).parent / "renew_lease.lua").read_text(encoding="utf-8"))


def limiter_digest(identity: Sequence[str | None], prefix: str) -> str:
    """Return the name under which a limiter is shared: a digest of its address, model, headers and credentials.

    The digest does not reveal the credentials. PBKDF2, with the prefix as salt, makes it slow to guess a short one.
    """
    text = json.dumps(list(identity)).encode()
    return pbkdf2_hmac("sha256", text, f"limits of {prefix}".encode(), _ROUNDS, 16).hex()


class LimitSharing:
    """Holds the leases of this process, and renews them in a daemon thread.

    A lease is the part of a rate limit that the fleet grants to one limiter of this process for a short time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # The digest of a limiter is published here when its members must slow down.
        self._channel = f"{connection.prefix}:limits:cut"
        self._start()

    def _start(self) -> None:
        self._member = uuid4().hex
        self._lock = Lock()
        self._due: dict[Any, _Renewal] = {}
        self._woken = Event()
        self._closed = Event()
        self._thread: Thread | None = None

    def add(self, lease: Any, identity: Sequence[str | None]) -> None:
        """Renew a lease from the first call of its limiter on, as long as the limiter has calls."""
        digest = limiter_digest(identity, self._connection.prefix)
        renewal = _Renewal(lease, digest, self._connection, self._channel)
        lease.urge = lambda: self._urge(renewal)

    def close(self) -> None:
        """End all leases. Their limiters continue without the fleet."""
        self._closed.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(_END_S)
        for renewal in list(self._due.values()):
            renewal.lease.end(monotonic())

    def start_after_fork(self) -> None:
        """Start over in a forked child, whose limiters are new, too."""
        self._start()

    def _urge(self, renewal: _Renewal) -> None:
        """Renew a lease soon. This is called often, so it returns at once for a lease that is urgent already."""
        if renewal.is_urgent and not renewal.lease.has_news:
            return
        renewal.is_urgent = True
        self._due[renewal.lease] = renewal
        if self._thread is None and not self._closed.is_set():
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="modelwire-fleet", daemon=True)
                    self._thread.start()
                    Thread(target=self._listen, name="modelwire-fleet-news", daemon=True).start()
        self._woken.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._woken.clear()
            due = list(self._due.values())
            now = monotonic()
            waits = [one.due_at() - now for one in due]
            wait_s = min(waits, default=None)
            if wait_s is None or wait_s > 0:
                self._woken.wait(wait_s)
            else:
                self._renew([one for one in due if one.due_at() <= now])

    def _renew(self, due: list[_Renewal]) -> None:
        for renewal in due:
            # A call that needs the lease meanwhile adds it again.
            self._due.pop(renewal.lease, None)
            if renewal.renew(self._member):
                self._due[renewal.lease] = renewal

    def _listen(self) -> None:
        """Renew a lease as soon as another member has slowed down. Without the subscription it is renewed later."""
        while not self._closed.is_set():
            with suppress(Away):
                for digest in self._connection.listen(self._channel):
                    if self._closed.is_set():
                        return
                    self._urge_all(digest)
            self._closed.wait(_LISTEN_AGAIN_S)

    def _urge_all(self, digest: bytes | None) -> None:
        for renewal in list(self._due.values()):
            if digest == renewal.digest.encode():
                self._urge(renewal)


class _Renewal:
    """Renews the lease of one limiter."""

    def __init__(self, lease: Any, digest: str, connection: Connection, channel: str) -> None:
        self.lease = lease
        self.digest = digest
        self.is_urgent = False
        self._connection = connection
        self._args = [digest, channel]
        self._keys = [connection.key("limits", kind, digest) for kind in ("state", "members")]
        self._keys.append(connection.key("limits", "events", digest))
        self._renewed_at = 0.0
        self._interval_s = _RENEW_S

    def due_at(self) -> float:
        """Return the time (of `monotonic`) at which the lease must be renewed."""
        interval_s = self._interval_s
        if self.is_urgent:
            interval_s = _NEWS_S if self.lease.has_news else _SOON_S
        return self._renewed_at + interval_s

    def renew(self, member: str) -> bool:
        """Renew the lease. Return False if the limiter does not need it any more."""
        now = monotonic()
        self._renewed_at = now
        self.is_urgent = False
        report = self.lease.report(now)
        if report is None:
            return False
        is_active = report["in_flight"] or report["is_waiting"] or report["per_s"] > 0.1
        self._interval_s = _RENEW_S if is_active else _IDLE_RENEW_S
        self._interval_s *= max(1.0, self.lease.members / _MEMBERS_AT_ONCE)
        try:
            reply = self._ask(member, report, now)
            if reply["behind"]:
                report = self.lease.report(now) or report
                self._ask(member, report, now, _restored(self.lease, reply))
                return True
            if reply["pub"] and reply["pub"]["is_ramping"] and report["is_waiting"]:
                self._interval_s = _RAMP_RENEW_S
            if reply["turn"]:
                publication = self._take_turn(reply)
                report = self.lease.report(now) or report
                self._ask(member, report, monotonic(), publication)
        except Away:
            self._interval_s = _IDLE_RENEW_S
        return True

    def _ask(
        self,
        member: str,
        report: JSON,
        now: float,
        publication: JSON | None = None,
    ) -> JSON:
        words = {"member": member, **report, "publication": publication or False}
        text = self._connection.run(_RENEW, self._keys, [json.dumps(words), *self._args])
        reply: JSON = json.loads(text)
        reply["pub"] = json.loads(reply["pub"]) if reply["pub"] else None
        reply["report"] = report
        self.lease.apply(reply, monotonic(), now)
        return reply

    def _take_turn(self, reply: JSON) -> JSON:
        events = [json.loads(event) for event in reply["events"]]
        news = {name: reply[name] for name in _NEWS}
        text, pub = self.lease.take_turn(reply["state"], {**news, "events": events})
        return {
            "base": reply["version"],
            "text": text,
            "pub": json.dumps(pub),
            "sent": reply["sent"],
            "answered": reply["answered"],
            "handled": len(events),
        }


def _restored(lease: Any, reply: JSON) -> JSON:
    """Return the publication that restores this process's state on a server that has lost its data."""
    text, pub = lease.restored(reply["now"])
    return {
        "base": lease.version - 1,
        "text": text,
        "pub": json.dumps(pub),
        "sent": pub["sent"],
        "answered": 0,
        "handled": 0,
    }
