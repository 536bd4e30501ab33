"""A cache of answers on a Redis server, and the claims by which equal calls of several processes become one.

An answer is a JSON text under a digest of the request. While a process makes the call, a lock is beside the answer's
key, with a time to live that the process renews; equal calls elsewhere wait for the answer. If the lock ends without an
answer, the next waiting call takes it. A process never waits for its own lock: its calls wait for each other in memory.
"""

from __future__ import annotations

import random
import re
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from secrets import token_hex
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from modelwire import forks
from modelwire.aliases import JSON
from modelwire.caches import RETURN_VAL_TYPE, TextCache
from modelwire.errors import CallerError, InvalidArgument, InvalidType
from modelwire.ext import shown_url
from modelwire.fleet.connection import Away, Connection, Script
from modelwire.fleet.ticker import start_ticking
from modelwire.sharing import shared_state

# The lock of a call ends after this time unless it is renewed; other processes wait that long for a killed one.
_LOCK_S = 5.0
# The lock is renewed when this much of its time has passed.
_RENEW_AFTER_S = 1.5
# A call that waits for a lock looks it up again after this time, which grows by half with each look.
_FIRST_PAUSE_S = 0.02
# The time between two looks does not grow beyond this.
_LONGEST_PAUSE_S = 0.25
# Each step of `clear` looks at about this many keys.
_KEYS_PER_STEP = 1_000

# KEYS: answer, lock. ARGV: the name of the claim, milliseconds. Returns the answer and no name, or no answer and the
# name of the claim that has the lock.
_LOOK_UP_OR_CLAIM = Script(
    """
local answer = redis.call('GET', KEYS[1])
if answer then return {answer, ''} end
local holder = redis.call('GET', KEYS[2])
if not holder then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
end
return {'', holder}
"""
)
# KEYS: answer, lock. ARGV: text, milliseconds to live (0: it does not expire), the name of the claim.
_STORE = Script(
    """
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
"""
)
# KEYS: lock. ARGV: the name of the claim, milliseconds (0: end the lock). Returns whether the lock was of this claim.
_HOLD = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""
)

Found = tuple[RETURN_VAL_TYPE | None, "_RedisClaim | None"]


class RedisCache(TextCache):
    """A cache on a Redis or Valkey server, for the processes of several machines. Needs `modelwire[redis]`.

    Equal calls at the same time are one request, whichever processes make them. If the server does not answer, each
    lookup is a miss. An entry that cannot be read is a miss, with a line in the log.

    Args:
        url: `redis://HOST`, or `rediss://`, `unix://`, `valkey://`; the server of `modelwire.shared` if left out.
        redis_url: another name for `url`, which LangChain's `RedisCache` uses.
        ttl: an entry is removed after that many seconds; None keeps it until the server removes it.
        prefix: begins the names of all keys. `clear` removes those with this prefix, and no others.

    Raises: `InvalidArgument` for a URL that cannot be used, without a URL if nothing is shared, and for a `ttl` that is
        not above 0; `InvalidType` for a client in place of a URL.

    Example:
        set_llm_cache(RedisCache("redis://localhost", ttl=86_400))
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        redis_url: str | None = None,
        ttl: float | None = None,
        prefix: str = "modelwire",
    ) -> None:
        super().__init__(ttl)
        url = url if url is not None else redis_url
        for name, value in {"url": url or "", "prefix": prefix}.items():
            if not isinstance(value, str):
                raise InvalidType(f"`{name}` must be a text, not a `{type(value).__name__}`.")
        self._url = url
        self._prefix = prefix
        self._claims: dict[bytes, _RedisClaim] = {}
        self._lacks_password = False
        if url is None and shared_state() is None:
            raise InvalidArgument(
                'No server is named: write `RedisCache("redis://HOST")`, or call `modelwire.shared` first.'
            )
        self._connection: Connection | None = self._connect()

    def __getstate__(self) -> JSON:
        url = None if self._url is None else _without_password(self._url)
        lacks_password = self._lacks_password or url != self._url
        return {
            "url": url,
            "ttl_s": self._ttl_s,
            "prefix": self._prefix,
            "lacks_password": lacks_password,
        }

    def __setstate__(self, state: JSON) -> None:
        super().__init__(state["ttl_s"])
        self._url = state["url"]
        self._prefix = state["prefix"]
        self._claims = {}
        self._lacks_password = state["lacks_password"]
        self._connection = None

    def __repr__(self) -> str:
        return f"RedisCache({self.place!r}, prefix={self._prefix!r})"

    @property
    def place(self) -> str:  # type: ignore[override]
        """The URL of the server without its password."""
        try:
            return self._connected().shown
        except Away:
            return "nowhere"

    @property
    def group(self) -> tuple[str, str]:
        """The server and the prefix. Caches that are equal in them have the same entries, and share equal calls."""
        return self.place, self._prefix

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations cached for this prompt, or `None`."""
        key, _ = self._keys(self._digest(prompt, llm_string))
        try:
            text = self._connected().command("GET", key)
        except Away:
            return None
        return None if text is None else self._answers_of(text)

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations cached for this prompt, or `None`."""
        key, _ = self._keys(self._digest(prompt, llm_string))
        try:
            text = await self._connected().acommand("GET", key)
        except Away:
            return None
        return None if text is None else self._answers_of(text)

    def lookup_or_claim(
        self, prompt: str, llm_string: str, timeout_s: float | None = None
    ) -> Found:
        """Return the cached generations, or a claim to make the call. While another process has the claim, wait.

        Both are None after `timeout_s`, if the server does not answer, and if this process has the claim already.
        """
        looking = _Looking(self, prompt, llm_string, timeout_s)
        for pause_s in looking.pauses():
            time.sleep(pause_s)
            try:
                looking.take(looking.connection.run(_LOOK_UP_OR_CLAIM, *looking.words))
            except Away:
                break
        return looking.found

    async def alookup_or_claim(
        self, prompt: str, llm_string: str, timeout_s: float | None = None
    ) -> Found:
        """Return the cached generations, or a claim to make the call. While another process has the claim, wait.

        Both are None after `timeout_s`, if the server does not answer, and if this process has the claim already.
        """
        import asyncio

        looking = _Looking(self, prompt, llm_string, timeout_s)
        for pause_s in looking.pauses():
            if pause_s:
                await asyncio.sleep(pause_s)
            try:
                looking.take(await looking.connection.arun(_LOOK_UP_OR_CLAIM, *looking.words))
            except Away:
                break
        return looking.found

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store the generations for this prompt."""
        storing = self._storing(prompt, llm_string, return_val)
        if storing is not None:
            with suppress(Away):
                self._connected().run(_STORE, storing.keys, storing.args)
                storing.end()

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store the generations for this prompt."""
        storing = self._storing(prompt, llm_string, return_val)
        if storing is not None:
            with suppress(Away):
                await self._connected().arun(_STORE, storing.keys, storing.args)
                storing.end()

    def clear(self, **kwargs: Any) -> None:
        """Delete all entries with the prefix of this cache. Raises: `CallerError` if that fails."""
        cursor = 0
        is_whole = False
        try:
            connection = self._connected()
            while not is_whole:
                cursor, keys = connection.command(*self._scan(cursor))
                if keys:
                    connection.command("UNLINK", *keys)
                is_whole = cursor == 0
        except Away as exc:
            raise self._not_cleared() from exc

    async def aclear(self, **kwargs: Any) -> None:
        """Delete all entries with the prefix of this cache. Raises: `CallerError` if that fails."""
        cursor = 0
        is_whole = False
        try:
            connection = self._connected()
            while not is_whole:
                cursor, keys = await connection.acommand(*self._scan(cursor))
                if keys:
                    await connection.acommand("UNLINK", *keys)
                is_whole = cursor == 0
        except Away as exc:
            raise self._not_cleared() from exc

    def _connected(self) -> Connection:
        """Return the connection. Raises: `Away` if this object was unpickled where nothing is shared."""
        if self._connection is None:
            self._connection = self._connect()
        if self._connection is None:
            what = "this process shares nothing, and the cache has no URL of its own"
            self._complain(what)
            raise Away(what)
        return self._connection

    def _connect(self) -> Connection | None:
        fleet = None
        if self._url is None or self._lacks_password:
            fleet = shared_state()
        if fleet is not None and (
            self._url is None or shown_url(self._url) == fleet.connection.shown
        ):
            return fleet.connection
        return None if self._url is None else _connection_to(self._url)

    def _not_cleared(self) -> CallerError:
        return CallerError(
            f"The cache at `{self.place}` could not be cleared: the server does not answer. Try again later."
        )

    def _scan(self, cursor: int) -> tuple[Any, ...]:
        pattern = re.sub(r"([\[\]*?\\])", r"\\\1", f"{self._prefix}:answer:") + "*"
        return "SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_PER_STEP

    def _keys(self, digest: bytes) -> tuple[str, str]:
        """Return the keys of an answer and of its lock, which a cluster stores on the same node."""
        name = f"{self._prefix}:answer:{{{digest.hex()}}}"
        return name, f"{name}:lock"

    def _claim_of(self, digest: bytes) -> _RedisClaim | None:
        claim = self._claims.get(digest)
        is_own = claim is not None and _is_of_this_process(claim.name)
        return claim if is_own else None

    def _storing(self, prompt: str, llm_string: str, answers: RETURN_VAL_TYPE) -> _Storing | None:
        """Return the arguments of the script that stores an answer; None if the answer cannot be written as JSON."""
        text = self._text_of(answers)
        if text is None:
            return None
        digest = self._digest(prompt, llm_string)
        lives_ms = 0 if self._ttl_s is None else max(1, round(self._ttl_s * 1000))
        return _Storing(self._keys(digest), text, lives_ms, self._claim_of(digest))


class _RedisClaim:
    """The lock of a call that this process makes, renewed in the background until it is released."""

    def __init__(self, cache: RedisCache, connection: Connection, digest: bytes, name: str) -> None:
        self.name = name
        self.reader_since: float | None = None
        # Whether the lock has ended, because the answer is stored.
        self.has_ended = False
        self._cache = cache
        self._connection = connection
        self._digest = digest
        self._lock_key = cache._keys(digest)[1]
        self._renewed_at = time.monotonic()
        self._is_released = False
        cache._claims[digest] = self
        start_ticking(self._tick)

    def release(self) -> None:
        """End the lock, in the background."""
        self._is_released = True
        if self._cache._claims.get(self._digest) is self:
            del self._cache._claims[self._digest]

    def _tick(self) -> bool:
        """Renew the lock, or end it; return whether this is to be called again."""
        if self.has_ended:
            return False
        now = time.monotonic()
        is_released = self._is_released
        is_due = now - self._renewed_at > _RENEW_AFTER_S
        is_left = self.reader_since is not None and now - self.reader_since > _LOCK_S
        if not is_released and (is_left or not is_due):
            return True
        lives_ms = 0 if is_released else round(_LOCK_S * 1000)
        try:
            is_held = self._connection.run(_HOLD, (self._lock_key,), (self.name, lives_ms))
        except Away:
            # The lock ends by itself.
            return not is_released
        self._renewed_at = now
        return bool(is_held) and not is_released


class _Storing(NamedTuple):
    """The arguments of the Lua script in Redis that stores an answer and releases the lock of its call."""

    keys: tuple[str, str]
    text: str
    lives_ms: int
    claim: _RedisClaim | None

    @property
    def args(self) -> tuple[Any, ...]:
        return self.text, self.lives_ms, "" if self.claim is None else self.claim.name

    def end(self) -> None:
        """Note that the answer is stored, which has ended the lock."""
        if self.claim is not None:
            self.claim.has_ended = True


class _Looking:
    """The lookup of one call, which may have to wait for an equal call of another process."""

    def __init__(
        self, cache: RedisCache, prompt: str, llm_string: str, timeout_s: float | None
    ) -> None:
        self.found: Found = (None, None)
        self._is_over = False
        try:
            self.connection = cache._connected()
        except Away:
            self._is_over = True
        self._cache = cache
        self._digest = cache._digest(prompt, llm_string)
        self._name = f"{_process}:{token_hex(8)}"
        self.words = cache._keys(self._digest), (self._name, round(_LOCK_S * 1000))
        self._ends_at = None if timeout_s is None else time.monotonic() + timeout_s

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each look at the server."""
        pause_s = 0.0
        while not self._is_over:
            if pause_s and self._ends_at is not None:
                left_s = self._ends_at - time.monotonic()
                if left_s <= 0:
                    return
                yield min(pause_s, left_s)
            else:
                yield pause_s
            pause_s = min(max(pause_s * 1.5, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            pause_s *= random.uniform(0.8, 1.2)  # noqa: S311 - so that waiting processes do not ask at the same time

    def take(self, reply: tuple[bytes, bytes]) -> None:
        """Store the server's reply: an answer, a claim, or the name of the claim to wait for."""
        text, holder = reply
        name = holder.decode()
        is_answered = not name
        if is_answered:
            self.found = self._cache._answers_of(text), None
        elif name == self._name:
            self.found = None, _RedisClaim(self._cache, self.connection, self._digest, name)
        self._is_over = is_answered or _is_of_this_process(name)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "password"]
    netloc = f"{name}@{host}" if name else host
    return parts._replace(netloc=netloc, query=urlencode(query)).geturl()


_lock = Lock()
# The connections of caches with a URL of their own. Caches with the same URL share one.
_connections: weakref.WeakValueDictionary[str, Connection] = weakref.WeakValueDictionary()
# Names the claims of this process.
_process = token_hex(8)


def _is_of_this_process(name: str) -> bool:
    return name.startswith(f"{_process}:")


def _connection_to(url: str) -> Connection:
    with _lock:
        found = _connections.get(url)
        if found is None:
            found = _connections[url] = Connection(url)
        return found


@forks.in_child
def _start_after_fork() -> None:
    """Make new names of claims and new connections in a forked child; the parent process uses the earlier ones."""
    global _lock, _process
    _lock = Lock()
    _process = token_hex(8)
    for connection in list(_connections.values()):
        connection.start_after_fork()
