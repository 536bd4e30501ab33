"""`CallObserver`: the one interface for observing a call of a model. No I/O here.

Callback handlers, tracers, event streams, jobs, the log and tracing spans are implementations of it. A config carries
observers in `observers`; a handler has one for each run, from `call_observer`. A call without observers pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from modelwire.context_items import adding

if TYPE_CHECKING:
    from modelwire.adapters.model.run import StartedCall
    from modelwire.errors import Attempt
    from modelwire.transport.ratelimit.limits import Change
    from modelwire.transport.steps import Exchange, Sleep, Wait

__all__ = ["OBSERVERS_EVERYWHERE", "OBSERVERS_IN_CONTEXT", "CallObserver", "observing"]


class CallObserver:
    """Observes a call: `started`, then its events, then exactly one `answered`, or `failed` without an attempt.

    Override the methods that you need. They are called inside the call, so they must be quick. `started` must not
    raise; an exception of another method ends the call. An async call awaits what `waiting`, `chunk`, `failed` without
    an attempt and `answered` return, unless that is None. Results and partial results are a `ChatResult`, perhaps
    without a generation.
    """

    __slots__ = ()
    wants_tokens: bool = False
    """True if a call that is not a stream reads its answer from one for this observer."""

    def started(
        self, model: Any, messages: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> CallObserver | None:
        """Called when a call starts. Return the observer for the rest of it: this one, one for this call, or None."""
        return self

    def call_started(self, call: StartedCall) -> CallObserver | None:
        """Called when a call starts, with its config, too. The default returns the result of `started`."""
        return self.started(call.model, call.messages, call.options)

    def sent(self, exchange: Exchange[Any, Any]) -> None:
        """Called when an attempt is sent, with its `url`, `headers` (secrets among them) and `content`."""

    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> Any:
        """Called when an attempt failed; if `attempt` is None, the call failed, after it had received `partial`."""

    def waiting(self, step: Sleep | Wait | None) -> Any:
        """Called when a wait for the next attempt or the limiter begins, and with None when it is over."""

    def limit_changed(self, change: Change) -> None:
        """Called when a provider's limit was learned or hit, at most once a second."""

    def chunk(self, chunk: Any) -> Any:
        """Called with each chunk of a streamed answer."""

    def answered(self, result: Any) -> Any:
        """Called with the answer; if the reader has left the stream, with the part received so far."""


# The observers of every call in this context, and in the contexts of threads and tasks that it starts. An error that
# their `started` raises ends the call.
OBSERVERS_IN_CONTEXT: ContextVar[tuple[CallObserver, ...]] = ContextVar(
    "modelwire_call_observers", default=()
)


# The observers of every call of this process.
OBSERVERS_EVERYWHERE: list[CallObserver] = []


@contextmanager
def observing(observer: CallObserver, *, everywhere: bool = False) -> Iterator[None]:
    """Report every call that is made inside the block, in its threads and its tasks, to `observer`.

    With `everywhere`, calls of threads and tasks that were started before the block are reported too.
    """
    if everywhere:
        OBSERVERS_EVERYWHERE.append(observer)
        try:
            yield
        finally:
            OBSERVERS_EVERYWHERE.remove(observer)
        return
    with adding(OBSERVERS_IN_CONTEXT, observer):
        yield
