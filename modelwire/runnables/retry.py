"""`RunnableRetry`: retries a runnable after transient errors.

Exactly one layer retries. A model retries by itself (`max_retries`), so its error means here that
its retries are used up: without a list of errors to retry, this layer retries only errors that no
other layer has retried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from modelwire.aliases import Kwargs
from modelwire.errors import CallerError, ChatError, InvalidArgument, InvalidType
from modelwire.runnables.base import Input, Output
from modelwire.runnables.binding import RunnableBinding
from modelwire.runnables.config import Config, Configs, RunnableConfig, below, hidden, settled
from modelwire.runnables.run import AnyRun, OptionalAsyncRun, OptionalRun, acalled, called

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["ExponentialJitterParams", "RetryIf", "RunnableRetry"]

RetryIf: TypeAlias = tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class ExponentialJitterParams(TypedDict, total=False):
    """The wait in seconds: `initial * exp_base ** (n - 1)` after attempt n, at most `max`, plus up to `jitter`.

    The defaults are 1, 2, no limit and 1.
    """

    initial: float
    max: float
    exp_base: float
    jitter: float


def is_retryable(error: BaseException) -> bool:
    """Return whether a retry may help: not for errors of the caller, nor for a call whose own retries are used up."""
    if isinstance(error, ChatError):
        return error.retryable and len(error.attempts) <= 1
    return isinstance(error, Exception) and not isinstance(error, CallerError)


class RunnableRetry(RunnableBinding[Input, Output]):
    """Runs `bound` up to `max_attempt_number` times; `retry_exception_types` are the classes to retry, or a predicate.

    Streams are not retried, since their chunks were passed on already. No attempt starts after the
    deadline.
    """

    _parts = (
        *RunnableBinding._parts,
        "retry_exception_types",
        "wait_exponential_jitter",
        "exponential_jitter_params",
        "max_attempt_number",
    )

    def __init__(
        self,
        *,
        retry_exception_types: RetryIf | type[BaseException] | None = None,
        wait_exponential_jitter: bool = True,
        exponential_jitter_params: ExponentialJitterParams | None = None,
        max_attempt_number: int = 3,
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        if type(max_attempt_number) is not int or max_attempt_number < 1:
            raise InvalidArgument(
                f"The number of attempts must be a whole number of 1 or more, not {max_attempt_number!r}."
            )
        unknown = set(exponential_jitter_params or ()) - set(
            ExponentialJitterParams.__annotations__
        )
        if unknown:
            raise InvalidArgument(
                f"`exponential_jitter_params` has no {', '.join(f'`{key}`' for key in sorted(unknown))}. "
                f"Known: {', '.join(f'`{key}`' for key in ExponentialJitterParams.__annotations__)}."
            )
        self.retry_exception_types = retry_exception_types
        self.wait_exponential_jitter = wait_exponential_jitter
        self.exponential_jitter_params = exponential_jitter_params
        self.max_attempt_number = max_attempt_number
        self._retries = _predicate(retry_exception_types)

    def _options(self, config: RunnableConfig) -> Kwargs:
        """Return tenacity's arguments for when to stop, how long to wait, and which errors to retry."""
        import tenacity

        deadline = config.get("deadline")

        def too_late(state: RetryCallState) -> bool:
            return deadline is not None and monotonic() + state.upcoming_sleep >= deadline

        wait: Any = tenacity.wait_none()
        if self.wait_exponential_jitter:
            jitter_params: Kwargs = dict(self.exponential_jitter_params or {})
            jitter = tenacity.wait_random(0, jitter_params.pop("jitter", 1.0))
            wait = (
                tenacity.wait_exponential(
                    multiplier=jitter_params.pop("initial", 1.0), **jitter_params
                )
                + jitter
            )
        return {
            "stop": lambda state: (
                state.attempt_number >= self.max_attempt_number or too_late(state)
            ),
            "wait": wait,
            "retry": tenacity.retry_if_exception(self._retries),
            "reraise": True,
        }

    @staticmethod
    def _attempt_config(config: RunnableConfig, run: AnyRun, number: int) -> RunnableConfig:
        if run is None:
            return below(config)
        return run.below(f"retry:attempt:{number}" if number > 1 else None)

    def invoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        """Invoke `bound`, with retries."""
        hidden(kwargs)
        ready = settled(self._config(config))
        return called(self, input, ready, lambda _, run: self._tried(input, ready, run, kwargs))

    async def ainvoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        hidden(kwargs)
        ready = settled(self._config(config))
        return await acalled(
            self, input, ready, lambda _, run: self._atried(input, ready, run, kwargs)
        )

    def _tried(
        self, input: Input, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        from tenacity import Retrying

        for attempt in Retrying(**self._options(config)):
            with attempt:
                inner = self._attempt_config(config, run, attempt.retry_state.attempt_number)
                return self.bound.invoke(input, inner, **{**self.kwargs, **kwargs})
        raise AssertionError("tenacity ends in an answer or in an error")

    async def _atried(
        self, input: Input, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Output:
        from tenacity import AsyncRetrying

        async for attempt in AsyncRetrying(**self._options(config)):
            with attempt:
                inner = self._attempt_config(config, run, attempt.retry_state.attempt_number)
                return await self.bound.ainvoke(input, inner, **{**self.kwargs, **kwargs})
        raise AssertionError("tenacity ends in an answer or in an error")

    def _batched_by(self, config: Configs, kwargs: Kwargs) -> None:
        return None  # Each input is retried on its own.


def _predicate(chosen: RetryIf | type[BaseException] | None) -> Callable[[BaseException], bool]:
    if chosen is None:
        return is_retryable
    if isinstance(chosen, type):
        chosen = (chosen,)
    if not isinstance(chosen, (tuple, list)):
        if not callable(chosen):
            raise InvalidType(
                "`retry_if_exception_type` must be a tuple of exception classes or a function of the error, "
                f"not a `{type(chosen).__name__}`."
            )
        return chosen
    kinds = tuple(chosen)
    if not kinds or not all(isinstance(cast("object", kind), type) for kind in kinds):
        raise InvalidType(
            "`retry_if_exception_type` must be a tuple of exception classes, such as `(ValueError,)`."
        )
    return partial(_is_one_of, kinds)


def _is_one_of(kinds: tuple[type[BaseException], ...], error: BaseException) -> bool:
    return isinstance(error, kinds)
