"""`CallObserver`: the one way of hearing what becomes of a call of a model. No I/O here.

Callback handlers, tracers, event streams, jobs, the log and tracing spans are implementations of it. A config carries
observers in `observers`, a handler gives one for a run of its own by `call_observer`. It is free when nobody listens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelwire.errors import Attempt
    from modelwire.transport.ratelimit.limits import Change
    from modelwire.transport.steps import Exchange, Sleep, Wait

__all__ = ["OBSERVERS_IN_CONTEXT", "CallObserver", "observing"]


class CallObserver:
    """Hears of a call: `started`, what becomes of it, and exactly one `answered`, or `failed` without an attempt.

    Override what is of interest. Methods are called in place, so they must be quick; `started` must not raise, and what
    another one raises ends the call. An async call awaits what `waiting`, `chunk`, `failed` without an attempt and
    `answered` return, unless that is None. Results and partial results are a `ChatResult`, perhaps of no generation.
    """

    __slots__ = ()
    wants_tokens: bool = False  # whether a call that was not asked to stream shall stream for it

    def started(
        self, model: Any, messages: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> CallObserver | None:
        """Hear that a call starts; return who hears the rest: this observer, one for this call alone, or nobody."""
        return self

    def sent(self, exchange: Exchange[Any, Any]) -> None:
        """Hear that an attempt goes out, with its `url`, `headers` (secrets among them) and `content`."""

    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> Any:
        """Hear that an attempt failed; without one, that the call did, when `partial` had come."""

    def waiting(self, step: Sleep | Wait | None) -> Any:
        """Hear that a call waits with nothing on the wire: for its next attempt or for the limiter; None: no longer."""

    def limit_changed(self, change: Change) -> None:
        """Hear that a provider's limit was learned or hit, once a second at most."""

    def chunk(self, chunk: Any) -> Any:
        """Hear a chunk of a streamed answer."""

    def answered(self, result: Any) -> Any:
        """Hear the answer; of a stream that its reader has left, what had come."""


# Who hears every call of this context and of those it starts; what their `started` raises refuses the call.
OBSERVERS_IN_CONTEXT: ContextVar[tuple[CallObserver, ...]] = ContextVar(
    "modelwire_call_observers", default=()
)


@contextmanager
def observing(observer: CallObserver) -> Iterator[None]:
    """Have `observer` observe every call that is made inside the block, in its threads and its tasks."""
    token = OBSERVERS_IN_CONTEXT.set((*OBSERVERS_IN_CONTEXT.get(), observer))
    try:
        yield
    finally:
        OBSERVERS_IN_CONTEXT.reset(token)
