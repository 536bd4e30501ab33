"""Splits a chain at its one model: the steps before and after the model run in this process, the model at the provider.

`with_retry` and `with_fallbacks` around the model apply only to the direct calls of `finish_live`. A
batch calls the model once for a row, so `with_structured_output(..., retries=n)` does not retry in
it either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire import ext
from modelwire.aliases import JSON, Fields, Kwargs
from modelwire.errors import InvalidArgument
from modelwire.jobs.work import Work, models_of
from modelwire.runnables import (
    Runnable,
    RunnableBinding,
    RunnableSequence,
    RunnableWithFallbacks,
    merge_configs,
)

if TYPE_CHECKING:
    from modelwire.ext import HTTPChatModel
    from modelwire.messages import BaseMessage
    from modelwire.runnables import RunnableConfig
    from modelwire.transport.wire import WireRequest


class NotBatchable(InvalidArgument):
    """A chain that no Batch API can answer: it has no provider's model, or more than one step that needs a model."""


class Split(NamedTuple):
    """A chain, split into the steps before its model, the model, and the steps after it.

    `live` is the model with its retries and fallbacks, for direct calls.
    """

    chain: Runnable
    before: Runnable | None
    model: HTTPChatModel
    live: Runnable
    after: Runnable | None
    kwargs: Fields  # These arguments are bound to the model.
    config: RunnableConfig
    work: Work  # The chain as the work of a job.

    def prepared(self, values: Any, config: RunnableConfig | None = None) -> Any:
        """Return the output of the steps before the model for a row."""
        if self.before is None:
            return values
        return self.before.invoke(self.work.filled(values), config)

    def call_directly(self, values: Any) -> Any:
        """Return the model's answer to a row, by a direct call."""
        return self.live.invoke(self.prepared(values, self.config), self.config)

    def messages(self, value: Any) -> list[BaseMessage]:
        """Convert `value`, an input of the model, to messages. Nothing is sent."""
        return self.model._messages(value)

    def request(self, messages: list[BaseMessage]) -> WireRequest:
        """Return the request that a direct call of the model would send."""
        kwargs = self._arguments()
        stop = kwargs.pop("stop", None)
        with ext.row_context({}, ext.CallObserver()):
            return self.model._build_request(messages, stop, kwargs, stream=False)[1]

    def cached(self, messages: list[BaseMessage]) -> BaseMessage | None:
        """Return the answer in the model's cache, or None."""
        kwargs = self._arguments()
        return ext.cached_answer(self.model, messages, kwargs.pop("stop", None), kwargs)

    def _arguments(self) -> JSON:
        kwargs = dict(self.kwargs)
        # Timeouts of a single call do not apply to a batch.
        self.model._retry_settings(kwargs)
        return kwargs


def split_chain(chain: Any, config: RunnableConfig | None = None) -> Split:
    """Split `chain` at its model.

    Raises: `NotBatchable`, naming the step at which it cannot be split.
    """
    if not isinstance(chain, Runnable):
        raise NotBatchable(
            f"A batch needs a chat model or a chain with one, not a `{type(chain).__name__}`."
        )
    whole, merged = _unbound(chain, merge_configs(config))
    steps = [inner for step in _steps(whole) for inner in _steps(step)]
    found: list[tuple[int, HTTPChatModel, Fields, RunnableConfig]] = []
    for position, step in enumerate(steps):
        model, kwargs, inner = _model_of(step)
        if isinstance(model, ext.HTTPChatModel):
            found.append((position, model, kwargs, inner))
        elif (hidden := next(models_of(step), None)) is not None:
            raise NotBatchable(
                f"Step {position + 1}, `{step.get_name()}`, has the model `{hidden.get_name()}` inside it. A batch "
                "needs one model that is a step of the chain: `prompt | model | parser`."
            )
    if not found:
        raise NotBatchable(
            f"There is no model of a provider in `{chain.get_name()}`: a batch needs one, such as `ChatOpenAI`."
        )
    if len(found) > 1:
        raise _several_models([(position, steps[position]) for position, *_ in found])
    position, model, kwargs, inner = found[0]
    before = _joined(steps[:position])
    after = _joined(steps[position + 1 :])
    return Split(
        chain,
        before,
        model,
        steps[position],
        after,
        kwargs,
        merge_configs(merged, inner),
        Work(chain),
    )


def _several_models(found: Sequence[tuple[int, Runnable]]) -> NotBatchable:
    """Return the error for a chain with several models; `found` has the position and the step of each."""
    names = [f"step {position + 1} `{step.get_name()}`" for position, step in found]
    return NotBatchable(
        f"A batch needs one model in the chain, and there are {len(found)}: {', '.join(names)}. Submit the part up to "
        "the first one, then a second batch with its results."
    )


def _steps(chain: Runnable) -> Sequence[Runnable]:
    if isinstance(chain, ext.StructuredRetry):
        chain = chain.once
    if isinstance(chain, RunnableSequence):
        return chain.steps
    return [chain]


def _unbound(chain: Runnable, config: RunnableConfig) -> tuple[Runnable, RunnableConfig]:
    """Return a chain without the configs bound to it by `chain.with_config(...)`, and `config` merged with them."""
    while type(chain) is RunnableBinding:
        bound = chain.bound
        if not isinstance(bound, (RunnableSequence, RunnableBinding)):
            break
        if chain.kwargs and isinstance(bound, RunnableSequence):
            raise NotBatchable(
                "Arguments are bound to the whole chain; bind them to the model: `model.bind(...)`."
            )
        if chain.kwargs:
            break
        config = merge_configs(chain._config(None), config)
        chain = bound
    return chain, config


def _model_of(
    step: Runnable,
) -> tuple[Runnable, Fields, RunnableConfig]:
    """Return the runnable inside a step's bindings, retries and fallbacks, with the arguments and
    config bound to it.
    """
    kwargs: Kwargs = {}
    config: RunnableConfig = merge_configs(None)
    while True:
        if isinstance(step, RunnableBinding):
            kwargs = {**step.kwargs, **kwargs}
            config = merge_configs(step._config(None), config)
            step = step.bound
        elif isinstance(step, RunnableWithFallbacks):
            step = step.runnable
        else:
            return step, kwargs, config


def _joined(steps: Sequence[Runnable]) -> Runnable | None:
    if not steps:
        return None
    if len(steps) == 1:
        return steps[0]
    return RunnableSequence(*steps)
