"""Stores heads of prompts at the provider (Gemini's `cachedContents`), and renews and deletes them.

A head (system instruction and tools) is stored when a call has repeated it and the provider has not read it from its
automatic cache. That cache costs nothing where it works, and storing does not pay for a single call. Calls renew a
stored head before it expires; `close()` and the end of the program delete it; after a crash it expires by itself.
Source: https://ai.google.dev/api/caching, read 2026-11.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from modelwire.adapters.model.arguments import json_bytes
from modelwire.adapters.model.call_parts import aconnection_of, connection_of
from modelwire.aliases import JSON, Function
from modelwire.errors import ChatError
from modelwire.transport.call import call_flow
from modelwire.transport.drivers import adrive, drive
from modelwire.transport.steps import Exchange, Request

if TYPE_CHECKING:
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.wires.prompt_marks import StoredHead
    from modelwire.transport.wire import Reply, WireRequest

_logger = logging.getLogger("modelwire")

# A request about a stored head times out after this; its call is then sent without a stored head.
PATIENCE_S = 10.0
# A head counts as read from the automatic cache if at least this share of its tokens was; a token is estimated at
# `_BYTES_A_TOKEN`.
_LEAST_SHARE_READ = 0.5
_BYTES_A_TOKEN = 4
# At most this many heads are tracked; a stored head that is dropped from them expires by itself.
MOST_HEADS = 256

_Control = Exchange[Any, Any]


class _ControlWire:
    """The codec of requests about stored prompts: their answers are JSON objects."""

    def __init__(self, codec: Any) -> None:
        self.provider: str = codec.provider
        self.error = codec.error

    def decode(self, reply: Reply) -> Any:
        """Return the JSON object of a reply; {} if the reply is not JSON."""
        with suppress(ValueError):
            return from_json(reply.body)
        return {}

    def stream_decoder(self, headers: Any) -> Any:
        raise NotImplementedError


class _ReadingWire:
    """The codec of a call that repeats a head: records whether the provider has read it from its automatic cache."""

    def __init__(self, codec: Any, head: _Head, head_tokens: float) -> None:
        self._codec = codec
        self._head = head
        self._head_tokens = head_tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def decode(self, reply: Reply) -> Any:
        answer = self._codec.decode(reply)
        self._note(answer.usage_metadata)
        return answer

    def stream_decoder(self, headers: Any) -> Any:
        decoder = self._codec.stream_decoder(headers)
        decoder.feed = self._noting(decoder.feed)
        decoder.close = self._noting(decoder.close)
        return decoder

    def _noting(self, read: Function) -> Function:
        def noted(*event: Any) -> Any:
            chunks = read(*event)
            for chunk in chunks:
                self._note(chunk.usage_metadata)
            return chunks

        return noted

    def _note(self, usage: Any) -> None:
        if usage:
            read = usage.get("input_token_details", {}).get("cache_read") or 0
            self._head.is_missed = read < self._head_tokens * _LEAST_SHARE_READ


class _Head:
    """One head of prompts: whether it is due to be stored, and the name under which the provider stores it."""

    def __init__(self, model: HTTPChatModel) -> None:
        self.model = model
        self.last_s: float | None = None  # The time of the last call with this head.
        # True if a call has repeated the head and the provider has not read it from its automatic cache.
        self.is_missed = False
        self.name: str | None = None
        self.ends_s = 0.0
        self.is_busy = False  # True while a call stores or renews it.
        self.is_refused = False
        # The last call with this head, from which the request that deletes it is made.
        self.latest: tuple[_Control, StoredHead] | None = None

    def is_due(self, now: float, lifetime_s: float, *, is_repeated: bool) -> bool:
        """Record a call with this head; return whether the head should be stored or renewed now."""
        self.is_missed = self.is_missed and is_repeated
        self.last_s = now
        if now > self.ends_s:
            self.name = None
        ends_soon = self.ends_s - now < lifetime_s / 2
        may_ask = not (self.is_busy or self.is_refused)
        return ends_soon and may_ask and (self.name is not None or self.is_missed)


_heads: OrderedDict[tuple[Any, ...], _Head] = OrderedDict()
_lock = Lock()


def before_call(
    model: HTTPChatModel, call: _Control, request: WireRequest, *, is_async: bool
) -> Callable[[], Any]:
    """Return a function to call or await before a call: it stores the head if due, and puts its name into the call."""

    async def abefore() -> None:
        with _storing(model, call, request) as storing:
            if storing.control is not None:
                connection = aconnection_of(model, storing.control)
                storing.answer = await adrive(call_flow(storing.control), connection)

    def before() -> None:
        with _storing(model, call, request) as storing:
            if storing.control is not None:
                connection = connection_of(model, storing.control)
                storing.answer = drive(call_flow(storing.control), connection)

    return abefore if is_async else before


class _Storing:
    """The request that stores or renews the head of a call, None if that is not due, and its answer."""

    def __init__(self, control: _Control | None) -> None:
        self.control = control
        self.answer: JSON = {}


@contextmanager
def _storing(model: HTTPChatModel, call: _Control, request: WireRequest) -> Iterator[_Storing]:
    """Yield the request that is due for the head of a call, then put the name of the stored head into the call."""
    store = cast("StoredHead", request.storable)
    now = time.monotonic()
    head = _head_of(model, call, store)
    control = None
    with _lock:
        is_repeated = head.last_s is not None and now - head.last_s < store.lifetime_s
        head.latest = call, store
        if head.is_due(now, store.lifetime_s, is_repeated=is_repeated):
            head.is_busy = True
            control = _control_for(call, store, head.name)
    storing = _Storing(control)
    try:
        yield storing
        if control is not None:
            head.name = head.name or storing.answer.get("name")
            head.ends_s = now + store.lifetime_s
    except ChatError as error:
        head.is_refused = head.name is None
        head.name = None
        _logger.warning("A prompt is not stored for `%s`: %s", request.model, error.message)
    finally:
        if control is not None:
            head.is_busy = False
    if head.name is not None:
        rest = {name: part for name, part in request.body.items() if name not in store.head}
        call.content = json_bytes({**rest, "cachedContent": head.name})
    elif is_repeated:
        call.wire = _ReadingWire(call.wire, head, len(json_bytes(store.head)) / _BYTES_A_TOKEN)


def _control_for(call: _Control, store: StoredHead, name: str | None) -> _Control:
    """Return the request that stores a head, or renews the one that is stored under `name`."""
    lifetime = {"ttl": f"{store.lifetime_s:.0f}s"}
    if name is None:
        return _control(call, store.url, "POST", {**store.made_of, **store.head, **lifetime})
    return _control(call, f"{store.named_url(name)}?updateMask=ttl", "PATCH", lifetime)


def _head_of(model: HTTPChatModel, call: _Control, store: StoredHead) -> _Head:
    credential = tuple(sorted(call.headers.items()))
    key = (store.url, hash(credential), hash(json_bytes({**store.made_of, **store.head})))
    with _lock:
        head = _heads.get(key)
        if head is None:
            head = _heads[key] = _Head(model)
            if len(_heads) > MOST_HEADS:
                _heads.popitem(last=False)
        _heads.move_to_end(key)
        return head


def _control(call: _Control, url: str, method: str, body: JSON | None = None) -> _Control:
    content = b"" if body is None else json_bytes(body)
    policy = call.policy._replace(limiter=None, patient=False)
    control: _Control = Exchange(
        Request(url, call.headers, content, call.model, method),
        _ControlWire(call.wire),
        policy,
        call.hooks._replace(marker=None, refusals=None, note=None),
        deadline=call.clock() + PATIENCE_S,
        timeout_s=PATIENCE_S,
    )
    control.sign = call.sign
    return control


def close() -> None:
    """Delete all heads that this process has stored at providers and that have not expired."""
    with _lock:
        heads = list(_heads.values())
        _heads.clear()
    for head in heads:
        if head.name is None or head.latest is None or time.monotonic() > head.ends_s:
            continue
        call, store = head.latest
        deletion = _control(call, store.named_url(head.name), "DELETE")
        try:
            drive(call_flow(deletion), connection_of(head.model, deletion))
        except ChatError as error:
            _logger.warning("A stored prompt was not deleted, and will expire by itself: %s", error)


atexit.register(close)
