"""A chain cut at its one model: what comes before runs here, the model at the provider's, what comes after here again.

`with_retry` and `with_fallbacks` around the model hold where it is asked live, in `finish_live`; a batch is asked once,
and so is `with_structured_output(..., retries=n)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.errors import InvalidArgument
from modelwire.jobs.work import Work, models_of
from modelwire.runnables import Runnable, RunnableBinding, RunnableSequence, RunnableWithFallbacks
from modelwire.runnables.config import merge_configs

if TYPE_CHECKING:
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.messages import BaseMessage
    from modelwire.runnables import RunnableConfig
    from modelwire.transport.wire import WireRequest

__all__ = ["NotBatchable", "Split", "split_chain"]


class NotBatchable(InvalidArgument):
    """A chain that no Batch API can answer: it has no model of a provider, or more than one step that needs one."""


class Split(NamedTuple):
    """A chain in its three parts. `live` is the model's step as it stood in the chain."""

    chain: Runnable[Any, Any]
    before: Runnable[Any, Any] | None
    model: HTTPChatModel
    live: Runnable[Any, Any]
    after: Runnable[Any, Any] | None
    kwargs: Mapping[str, Any]  # bound to the model
    config: RunnableConfig
    work: Work  # the chain, as a job sees it

    def prepared(self, values: Any, config: RunnableConfig | None = None) -> Any:
        """Return what the steps before the model make of a row."""
        return (
            values if self.before is None else self.before.invoke(self.work.filled(values), config)
        )

    def messages(self, value: Any) -> list[BaseMessage]:
        """Return the input of the model, as the steps before it make it."""
        return self.model._messages(value)

    def request(self, messages: list[BaseMessage]) -> WireRequest:
        """Return what `invoke` would send."""
        kwargs = self._arguments()
        return self.model._build_request(messages, kwargs.pop("stop", None), kwargs, stream=False)[
            1
        ]

    def cached(self, messages: list[BaseMessage]) -> BaseMessage | None:
        """Return the answer that the model's cache has, if it has one."""
        from modelwire.adapters.model.cache import cached_answer

        kwargs = self._arguments()
        return cached_answer(self.model, messages, kwargs.pop("stop", None), kwargs)

    def _arguments(self) -> dict[str, Any]:
        kwargs = dict(self.kwargs)
        self.model._retry_settings(
            kwargs
        )  # what says how long to wait for one call says nothing to a batch
        return kwargs


def split_chain(chain: Any, config: RunnableConfig | None = None) -> Split:
    """Cut `chain` at its model. Raises: `NotBatchable`, naming the step that cannot be."""
    from modelwire.adapters.model.http import HTTPChatModel

    if not isinstance(chain, Runnable):
        raise NotBatchable(
            f"A batch needs a chat model or a chain with one, not a `{type(chain).__name__}`."
        )
    whole, merged = _unbound(chain, merge_configs(config))
    steps = [inner for step in _steps(whole) for inner in _steps(step)]
    found: list[tuple[int, HTTPChatModel, Mapping[str, Any], RunnableConfig]] = []
    for position, step in enumerate(steps):
        model, kwargs, inner = _model_of(step)
        if isinstance(model, HTTPChatModel):
            found.append((position, model, kwargs, inner))
        elif (hidden := next(models_of(step), None)) is not None:
            raise NotBatchable(
                f"Step {position + 1}, `{step.get_name()}`, has the model `{hidden.get_name()}` inside it. A batch "
                "needs one model that is a step of the chain: `prompt | model | parser`."
            )
    if len(found) != 1:
        names = ", ".join(
            f"step {position + 1} `{steps[position].get_name()}`" for position, *_ in found
        )
        raise NotBatchable(
            f"A batch needs one model in the chain, and there are {len(found)}: {names}. Submit the part up to the "
            "first one, then a second batch with what came of it."
            if found
            else f"There is no model of a provider in `{chain.get_name()}`: a batch needs one, such as `ChatOpenAI`."
        )
    position, model, kwargs, inner = found[0]
    before, after = _joined(steps[:position]), _joined(steps[position + 1 :])
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


def _steps(chain: Runnable[Any, Any]) -> Sequence[Runnable[Any, Any]]:
    from modelwire.adapters.asking_again import AskingAgain

    if isinstance(chain, AskingAgain):
        chain = chain.once
    return chain.steps if isinstance(chain, RunnableSequence) else [chain]


def _unbound(
    chain: Runnable[Any, Any], config: RunnableConfig
) -> tuple[Runnable[Any, Any], RunnableConfig]:
    """Take the config off a chain that has one bound to it, `chain.with_config(...)`."""
    while type(chain) is RunnableBinding and isinstance(
        chain.bound, (RunnableSequence, RunnableBinding)
    ):
        if chain.kwargs and isinstance(chain.bound, RunnableSequence):
            raise NotBatchable(
                "Arguments are bound to the whole chain; bind them to the model: `model.bind(...)`."
            )
        if chain.kwargs:
            break
        config = merge_configs(chain._config(None), config)
        chain = chain.bound
    return chain, config


def _model_of(
    step: Runnable[Any, Any],
) -> tuple[Runnable[Any, Any], Mapping[str, Any], RunnableConfig]:
    """Return what a step calls in the end, through bindings, retries and fallbacks, with what is bound to it."""
    kwargs: dict[str, Any] = {}
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


def _joined(steps: Sequence[Runnable[Any, Any]]) -> Runnable[Any, Any] | None:
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else RunnableSequence(*steps)
