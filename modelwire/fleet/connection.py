"""The connection of a process to its Redis or Valkey server: it runs scripts and commands, sync and async.

    connection.run(script, keys, args)            # in a thread
    await connection.arun(script, keys, args)     # in an event loop

Each raises `Away`, and nothing else, if the server does not answer in time or cannot be used. After two failures in a
row the server is away: then only one call at a time tries it, after pauses that grow to a second, and all others fail
at once. One warning is logged when it goes away, and one when it is back.

Redis 5 or later, or Valkey; the scripts use no other command than those in their text, and name all their keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, MissingDependency
from modelwire.ext import shown_url

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as exc:
    raise MissingDependency(
        'Sharing state needs redis-py: `pip install "modelwire[redis]"`.'
    ) from exc

if TYPE_CHECKING:
    from modelwire.fleet.loop_clients import LoopClients

_log = logging.getLogger("modelwire.fleet")

# A connection must be open, and a reply must be there, within this time.
_TIMEOUT_S = 0.5
# The server is away after this many failures in a row. One alone may be a pause of this process.
_FAILURES_TO_BE_AWAY = 2
# While the server is away, one call tries it again after this time, which doubles with each failure.
_RETRY_FIRST_S = 0.1
# The time between two tries does not grow beyond this.
_RETRY_MOST_S = 1.0
# A listener checks at this interval whether it is still needed.
_LISTEN_S = 1.0
# The schemes that a URL may have, with the ones that redis-py knows.
_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
# redis-py raises these if the server or the network fails.
_FAILURES = (redis.RedisError, OSError)
# redis-py raises these if the server rejects the user or the password.
_REJECTIONS = (redis.AuthenticationError, redis.exceptions.NoPermissionError)


class Away(Exception):
    """The server did not answer in time, or cannot be used now."""


class Script:
    """A Lua script. It is sent once to a server that does not know it, and then called by its digest."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # Redis names scripts by this digest; it protects nothing.
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Connection:
    """Talks to one server for the whole process, from any thread and any event loop."""

    def __init__(self, url: str, *, prefix: str = "modelwire") -> None:
        self._url = _checked(url)
        self.prefix = prefix
        # The URL without its password, for logs and errors.
        self.shown = shown_url(url)
        self._open()

    def _open(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self._is_away = False
        self._retry_at = 0.0
        self._client = _client(self._url, self.shown)
        self._loop_clients: LoopClients | None = None

    @property
    def is_away(self) -> bool:
        """Whether the server has stopped answering, so that all calls but one at a time fail at once."""
        return self._is_away

    def key(self, *parts: str) -> str:
        """Return the name of a key on the server. Keys with the same last part can be used by one script."""
        *kinds, last = parts
        return ":".join([self.prefix, *kinds, f"{{{last}}}"])

    def check(self) -> None:
        """Call the server once. If it does not answer, it is away.

        Raises: `InvalidArgument` if it rejects the user or the password.
        """
        try:
            self._client.ping()
        except _REJECTIONS as exc:
            raise InvalidArgument(
                f"The server at `{self.shown}` rejects the user or the password of its URL."
            ) from exc
        except _FAILURES as exc:
            self._failed(exc, is_certain=True)
        else:
            self._succeeded()

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Run a script and return its reply, texts as bytes. Raises: `Away`."""
        with self._watched():
            try:
                return self._client.evalsha(script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                return self._client.eval(script.text, len(keys), *keys, *args)

    async def arun(self, script: Script, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Run a script and return its reply, texts as bytes. Raises: `Away`."""
        with self._watched():
            client = await self._loop_client()
            try:
                return await client.evalsha(script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                return await client.eval(script.text, len(keys), *keys, *args)

    def command(self, *words: Any) -> Any:
        """Run one command, such as `command("GET", key)`; return its reply as redis-py does. Raises: `Away`."""
        with self._watched():
            return self._client.execute_command(*words)

    async def acommand(self, *words: Any) -> Any:
        """Run one command; return its reply as redis-py does. Raises: `Away`."""
        with self._watched():
            client = await self._loop_client()
            return await client.execute_command(*words)

    def listen(self, channel: str) -> Generator[bytes | None]:
        """Yield each message that is published on a channel, and None in each second without one. Raises: `Away`."""
        client = _client(self._url, self.shown)
        try:
            with client.pubsub(ignore_subscribe_messages=True) as subscription:
                subscription.subscribe(channel)
                while True:
                    message = subscription.get_message(timeout=_LISTEN_S)
                    yield None if message is None else message["data"]
        except _FAILURES as exc:
            raise Away(f"The server at `{self.shown}` does not answer: {exc}") from exc
        finally:
            client.close()

    def close(self) -> None:
        """Close the connections of threads. Those of an event loop are closed with their loop."""
        # Another thread may use a connection now; it is closed when that thread ends.
        with suppress(*_FAILURES):
            self._client.connection_pool.disconnect(inuse_connections=False)

    def start_after_fork(self) -> None:
        """Open new connections in a forked child. The parent process still uses its own, which are not closed here."""
        self._parents = (
            self._client,
            self._loop_clients,
        )  # While they are referenced, nothing closes them.
        self._open()

    async def _loop_client(self) -> Any:
        if self._loop_clients is None:
            from modelwire.fleet.loop_clients import LoopClients

            with self._lock:
                if self._loop_clients is None:
                    self._loop_clients = LoopClients(self._url, _options())
        return await self._loop_clients.of_running_loop()

    @contextmanager
    def _watched(self) -> Generator[None]:
        """Raise `Away` if a call to the server fails in the block; count failures and successes."""
        self._check_turn()
        try:
            yield
        except _FAILURES as exc:
            self._failed(exc)
            raise Away(f"The server at `{self.shown}` does not answer: {exc}") from exc
        if self._failures:
            self._succeeded()

    def _check_turn(self) -> None:
        if not self._is_away:
            return
        now = time.monotonic()
        with self._lock:
            if now < self._retry_at:
                raise Away(f"The server at `{self.shown}` does not answer.")
            # Until this call has its reply, all other calls fail at once.
            self._retry_at = now + _TIMEOUT_S * 2

    def _failed(self, exc: Exception, *, is_certain: bool = False) -> None:
        with self._lock:
            self._failures += 1
            waits = min(_RETRY_FIRST_S * 2.0 ** min(self._failures, 10), _RETRY_MOST_S)
            self._retry_at = time.monotonic() + waits
            is_news = not self._is_away and (is_certain or self._failures >= _FAILURES_TO_BE_AWAY)
            self._is_away = self._is_away or is_news
        if is_news:
            _log.warning(
                "The shared state at %s cannot be used (%s). This process continues alone and tries again.",
                self.shown,
                exc,
            )

    def _succeeded(self) -> None:
        with self._lock:
            was_away = self._is_away
            self._is_away = False
            self._failures = 0
        if was_away:
            _log.warning("The shared state at %s is back.", self.shown)


def _client(url: str, shown: str) -> Any:
    try:
        # By itself redis-py would retry a failed command for seconds. Here the caller decides.
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options())
        client.connection_pool.make_connection()  # It reads the options, and connects later.
    except (TypeError, ValueError) as exc:
        raise InvalidArgument(
            f"The URL `{shown}` has an option that redis-py does not accept."
        ) from exc
    return client


def _options() -> Kwargs:
    return {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S, "protocol": 2}


def _checked(url: str) -> str:
    """Return the URL with a scheme that redis-py knows. Raises: `InvalidArgument`, without any part of the URL."""
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.path if parts.scheme == "unix" else parts.hostname)
        is_complete = is_complete and parts.port != 0
    except ValueError:
        parts = urlsplit("")
        is_complete = False
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not is_complete:
        raise InvalidArgument(
            "The URL of the shared state cannot be used: write `redis://HOST:PORT`, `rediss://...` for TLS, or "
            "`unix://PATH`."
        )
    return parts._replace(scheme=scheme).geturl()
