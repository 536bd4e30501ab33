"""Implements `generate` of a chat model: answers several lists of messages, with all metadata of the provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.model.run import astart_model_run, start_model_run
from modelwire.outputs import ChatResult, LLMResult, RunInfo
from modelwire.runnables.batch import gathered
from modelwire.runnables.config import settled

if TYPE_CHECKING:
    from uuid import UUID

    from modelwire.adapters.model.arguments import Arguments, Stop
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.messages import BaseMessage
    from modelwire.runnables.config import RunnableConfig

__all__ = ["agenerate", "generate"]


def _configs(config: Mapping[str, Any], number: int) -> list[RunnableConfig]:
    """Return a config for each list; a run id names the run of the first one only."""
    options = {key: value for key, value in config.items() if value is not None}
    rest = {key: value for key, value in options.items() if key != "run_id"}
    return [settled(options if position == 0 else rest) for position in range(number)]  # type: ignore[arg-type]


def generate(
    model: BaseChatModel,
    prompts: Sequence[list[BaseMessage]],
    stop: Stop,
    config: Mapping[str, Any],
    kwargs: Arguments,
) -> LLMResult:
    """Return the answers to `prompts`, called one after the other."""
    answered = []
    for messages, own in zip(prompts, _configs(config, len(prompts)), strict=True):
        with start_model_run(model, messages, own, {"stop": stop, **kwargs}) as run:
            result = model._entry()._result(messages, stop, run.config, run=run, **kwargs)
            run.end(run.signed(result))
        answered.append((result, run.run_id))
    return _together(model, answered)


async def agenerate(
    model: BaseChatModel,
    prompts: Sequence[list[BaseMessage]],
    stop: Stop,
    config: Mapping[str, Any],
    kwargs: Arguments,
) -> LLMResult:
    """Return the answers to `prompts`, called concurrently."""

    async def one(messages: list[BaseMessage], own: RunnableConfig) -> tuple[ChatResult, UUID]:
        async with await astart_model_run(model, messages, own, {"stop": stop, **kwargs}) as run:
            result = await model._entry()._aresult(messages, stop, run.config, run=run, **kwargs)
            await run.end(run.signed(result))
        return result, run.run_id

    pairs = zip(prompts, _configs(config, len(prompts)), strict=True)
    calls = [lambda messages=messages, own=own: one(messages, own) for messages, own in pairs]
    return _together(model, await gathered(calls, None) if calls else [])


def _together(model: BaseChatModel, answered: Sequence[tuple[ChatResult, UUID]]) -> LLMResult:
    return LLMResult(
        generations=[result.generations for result, _ in answered],
        llm_output=model._combine_llm_outputs([result.llm_output for result, _ in answered]),
        run=[RunInfo(run_id=run_id) for _, run_id in answered] or None,
    )
