"""Finds the limiter of a call. The calls of a process share one if address, credential and model are the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import count, islice
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from modelwire import forks
from modelwire.aliases import HeaderFields
from modelwire.sharing import shared_state
from modelwire.transport.connections.address import address_of
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

if TYPE_CHECKING:
    from random import Random

# A limiter that was not used for this long is replaced by a new one, because its limits are out of date.
_IDLE_S = 600.0
# If there are more limiters than this, idle ones are removed.
_MOST_LIMITERS = 10_000
# Each time a limiter is added, this many others are checked for removal.
_CHECKED = 4
# The headers that identify the caller: each combination of their values has its own limits.
_CALLER_HEADERS = frozenset(
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

# These endings of a URL are ignored, because the APIs of one model share its limits.
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

# The digest of the address, the model, and the digest of the caller.
_Key = tuple[int, str | None, int]
_Limiters = dict[_Key, AdaptiveRateLimiter]
_limiters: OrderedDict[_Key, AdaptiveRateLimiter] = OrderedDict()
_lock = Lock()
_next_number = count()
# A number for each credential that is an object.
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_share = 1.0


def divide_limits(among: int, now: float) -> None:
    """Use only 1/`among` of every stated or advertised limit; the other processes that share it use the rest."""
    global _share
    if shared_state() is not None:
        return  # A fleet divides them by what its members need.
    _share = 1 / among
    for limiter in list(_limiters.values()):
        limiter.take_share(_share, now)


def limiter_of(
    url: str,
    headers: HeaderFields,
    model: str | None,
    *,
    now: float,
    rng: Random,
    who: Sequence[Any] = (),
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
) -> AdaptiveRateLimiter:
    """Return the limiter for a call. The limits that the user states apply to it from now on.

    `who` has the credentials that are not in the `headers`, as texts or objects.
    """
    url = url.removesuffix("?alt=sse")
    for ending in _ENDINGS:
        url = url.removesuffix(ending)
    # The key has hashes with the interpreter's salt, so that neither a credential nor an address, which
    # may contain a password, is stored.
    named = [caller_of(who) if who else None]
    # Every call runs this. A comprehension would be slower: it is a call of its own in Python 3.11.
    for name, value in headers.items():
        if name.lower() in _CALLER_HEADERS:
            named.append(value)
    key = (hash(url), model, hash(tuple(named)))
    limiter = _limiters.get(key)
    if limiter is None or (now - limiter.used_at > _IDLE_S and limiter.is_idle()):
        limiter = _made(key, url, now, rng, (named[1:], who))
    if limiter.stated != (requests_per_minute, tokens_per_minute):
        limiter.state(requests_per_minute, tokens_per_minute, now)
    return limiter


def caller_of(credentials: Iterable[Any]) -> str:
    """Return a text that identifies the caller with these credentials: their texts, or a number for each object.

    A static object is identified by its access key. The key of one that renews itself is not read, because that may
    send requests.
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
    except TypeError:  # It is not hashable, or has no weak references.
        return id(credential)


def forget() -> None:
    """Forget every learned limit. This is for tests, and for a child process after a fork."""
    global _lock, _share
    # In a child process, a lock that was held at the fork is never released.
    _lock = Lock()
    _share = 1.0
    _limiters.clear()


def exchange_limiters(limiters: _Limiters) -> _Limiters:
    """Replace all limiters by `limiters`; return the old ones."""
    with _lock:
        before = dict(_limiters)
        _limiters.clear()
        _limiters.update(limiters)
    return before


def _made(
    key: _Key,
    url: str,
    now: float,
    rng: Random,
    credentials: tuple[Sequence[str | None], Sequence[Any]],
) -> AdaptiveRateLimiter:
    _, model, who = key
    fleet = shared_state()
    identity = None
    if fleet is not None:
        identity = _shared_identity(url, model, *credentials)
    with _lock:
        _drop_idle(now, but=key)
        limiter = _limiters.get(key)
        if limiter is not None and _is_old(limiter, now):
            del _limiters[key]
        if key not in _limiters:
            name = f"{address_of(url).authority} {model} #{who & 0xFFFFFFFF:08x}"
            limiter = _limiters[key] = AdaptiveRateLimiter(now, rng, name=name)
            limiter.share = 1.0 if fleet is not None else _share
            if fleet is not None and identity is not None:
                from modelwire.transport.ratelimit.lease import Lease

                fleet.share_limits(Lease(limiter, now, rng), identity)
        return _limiters[key]


def _shared_identity(
    url: str, model: str | None, headers: Sequence[str | None], credentials: Sequence[Any]
) -> list[str | None] | None:
    """Return texts that identify a limiter in all processes; None if a credential is known by a number of this one."""
    names = [_name_of(credential) for credential in credentials]
    texts = [name for name in names if name is None or isinstance(name, str)]
    if len(texts) == len(names):
        return [url, model, *headers, *texts]
    return None


def _is_old(limiter: AdaptiveRateLimiter, now: float) -> bool:
    return now - limiter.used_at > _IDLE_S and limiter.is_idle()


def _drop_idle(now: float, *, but: _Key) -> None:
    """Check the first few limiters: remove the idle ones, and move the others to the end.

    Adding a limiter checks a few others and never all of them, so twenty thousand keys in ten minutes stay cheap. More
    limiters are removed than added, so the number of idle ones shrinks.
    """
    for other in list(islice(_limiters, _CHECKED)):
        if other == but:
            continue
        is_one_too_many = len(_limiters) > _MOST_LIMITERS and _limiters[other].is_idle()
        if is_one_too_many or _is_old(_limiters[other], now):
            del _limiters[other]
        else:
            _limiters.move_to_end(other)


@forks.in_child
def _forget_the_parents() -> None:
    # A stream of the parent process that is closed in the child releases its permit.
    for limiter in _limiters.values():
        limiter._lock = RLock()
    forget()
