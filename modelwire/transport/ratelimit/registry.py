"""Which calls share a limiter: those of one process to one address, with one credential, to one model."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from modelwire.transport.connections.address import address_of
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

if TYPE_CHECKING:
    from random import Random

__all__ = ["caller_of", "divide_limits", "exchange_limiters", "forget", "limiter_of"]

_IDLE_S = 600.0  # unused for so long, what was learned is old
_MOST = 10_000  # above this many, one that is idle is forgotten
_LOOKS = 4  # limiters that each new one has looked at, whether they are old
# The headers that say who calls: limits are held for each of these.
_WHO = frozenset(
    {
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "openai-organization",
        "openai-project",
        "anthropic-workspace-id",
    }
)

# Two ways of asking the same model share its limits.
_ENDINGS = (
    "/chat/completions",
    "/responses",
    "/messages",
    "/converse",
    "/converse-stream",
    ":generateContent",
    ":streamGenerateContent",
    ":rawPredict",
    ":streamRawPredict",
)

Limiters = dict[tuple[int, str | None, int], AdaptiveRateLimiter]
_limiters: OrderedDict[tuple[int, str | None, int], AdaptiveRateLimiter] = OrderedDict()
_lock = Lock()
_next_number = count()
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # of credentials that are objects
_share = 1.0


def divide_limits(among: int, now: float) -> None:
    """Hold one part of every limit that is stated or advertised: `among` processes, this one included, share it."""
    global _share
    _share = 1 / among
    for limiter in list(_limiters.values()):
        limiter.take_share(_share, now)


def limiter_of(
    url: str,
    headers: Mapping[str, str],
    model: str | None,
    *,
    now: float,
    rng: Random,
    who: Sequence[Any] = (),
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
) -> AdaptiveRateLimiter:
    """Return the limiter that a call shares with its likes; what the user states of the limits holds from now on.

    `who` are credentials that are not in the `headers`, as texts or objects.
    """
    url = url.removesuffix("?alt=sse")
    for ending in _ENDINGS:
        url = url.removesuffix(ending)
    # Hashes, salted by the interpreter: no credential is kept, nor an address, which may hold a password.
    named = [caller_of(who) if who else None]
    for (
        name,
        value,
    ) in headers.items():  # a loop, as every call comes here: a comprehension is a call of its own
        if name.lower() in _WHO:
            named.append(value)
    key = (hash(url), model, hash(tuple(named)))
    limiter = _limiters.get(key)
    if limiter is None or (now - limiter.used_at > _IDLE_S and limiter.is_idle()):
        limiter = _made(key, url, now, rng)
    if limiter.stated != (requests_per_minute, tokens_per_minute):
        limiter.state(requests_per_minute, tokens_per_minute, now)
    return limiter


def caller_of(credentials: Iterable[Any]) -> str:
    """Return what tells the caller with these credentials from others: their texts, or a number for each object.

    An object that is not renewed goes by its access key. One that is renewed is not asked, as that may take requests.
    """
    return repr([_name_of(credential) for credential in credentials])


def _name_of(credential: Any) -> object:
    if credential is None or isinstance(credential, str):
        return credential
    if hasattr(credential, "get_secret_value"):
        return credential.get_secret_value()
    key = None if hasattr(credential, "refresh_needed") else getattr(credential, "access_key", None)
    if isinstance(key, str):
        return key
    try:
        with _lock:
            return _numbers.setdefault(credential, next(_next_number))
    except TypeError:  # it can be neither hashed nor referred to weakly
        return id(credential)


def forget() -> None:
    """Forget every limit that was learned: for tests, and for a child process, whose locks nobody may hold."""
    global _lock, _share
    _lock, _share = Lock(), 1.0  # a lock that was held at the fork is never released in the child
    _limiters.clear()


def exchange_limiters(limiters: Limiters) -> Limiters:
    """Let `limiters` hold from now on; return those that held before."""
    with _lock:
        before = dict(_limiters)
        _limiters.clear()
        _limiters.update(limiters)
    return before


def _made(
    key: tuple[int, str | None, int], url: str, now: float, rng: Random
) -> AdaptiveRateLimiter:
    _, model, who = key
    with _lock:
        _drop_idle(now, but=key)
        limiter = _limiters.get(key)
        if limiter is not None and _is_old(limiter, now):
            del _limiters[key]
        if key not in _limiters:
            name = f"{address_of(url).authority} {model} #{who & 0xFFFFFFFF:08x}"
            _limiters[key] = AdaptiveRateLimiter(now, rng, name=name)
            _limiters[key].share = _share
        return _limiters[key]


def _is_old(limiter: AdaptiveRateLimiter, now: float) -> bool:
    return now - limiter.used_at > _IDLE_S and limiter.is_idle()


def _drop_idle(now: float, *, but: tuple[int, str | None, int]) -> None:
    """Look at the first few limiters, and put those in use behind the others.

    Each new limiter pays for a few looks and never for all: twenty thousand keys in ten minutes stay cheap, and as two
    leave where one comes, the number of idle ones shrinks.
    """
    for other in list(islice(_limiters, _LOOKS)):
        if other == but:
            continue
        is_one_too_many = len(_limiters) > _MOST and _limiters[other].is_idle()
        if is_one_too_many or _is_old(_limiters[other], now):
            del _limiters[other]
        else:
            _limiters.move_to_end(other)


def _forget_the_parents() -> None:
    for (
        limiter
    ) in _limiters.values():  # a stream of the parent's that is closed here leaves its limiter
        limiter._lock = RLock()
    forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)
