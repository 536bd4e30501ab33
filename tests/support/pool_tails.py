"""Hedges and warm prompts of a pool, in virtual time: real pools of models that only sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from support.simulated_pool import run_virtually

from modelwire.adapters import BaseChatModel
from modelwire.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from modelwire.outputs import ChatGeneration, ChatResult
from modelwire.pools import pool

PROMPT_TOKENS_A_S = 5_000  # how fast a deployment reads a cold prompt
WARM_S = 300.0


class SleepingModel(BaseChatModel):
    """Answers after a time: most calls in about a second, some in fifteen; a warm prompt is read at once."""

    rng: Any
    slow_part: float = 0.0
    warm: Any = None
    calls: list[int] = []

    @property
    def _llm_type(self) -> str:
        return "sleeping"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        self.calls.append(1)
        seconds = self.rng.lognormvariate(0.0, 0.25)
        if self.rng.random() < self.slow_part:
            seconds = 15.0
        cached = 0
        if self.warm is not None:
            cached = self._read_prompt(messages)
            cold = sum(len(str(one.content)) for one in messages) // 4 - cached
            seconds += cold / PROMPT_TOKENS_A_S
        await asyncio.sleep(seconds)
        answer = AIMessage("ok", usage_metadata=_usage(cached))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _read_prompt(self, messages: list[BaseMessage]) -> int:
        """Return how many tokens of the prompt are warm, and warm it as it is."""
        now = asyncio.get_running_loop().time()
        texts = tuple(str(one.content) for one in messages)
        cached = 0
        for length in range(len(texts), 0, -1):
            warm_at = self.warm.get(hash(texts[:length]))
            if warm_at is not None and now - warm_at < WARM_S:
                cached = sum(map(len, texts[:length])) // 4
                break
        for length in range(1, len(texts) + 1):
            self.warm[hash(texts[:length])] = now
        return cached


def _usage(cached: int) -> Any:
    return {
        "input_tokens": cached,
        "output_tokens": 1,
        "total_tokens": cached + 1,
        "input_token_details": {"cache_read": cached},
    }


class Tail(NamedTuple):
    """The 99th percentile of the seconds of calls, and how many calls were sent for each."""

    p99_s: float
    extra: float


def tail(hedge: Any, *, calls: int = 4000, seed: int = 1) -> Tail:
    """Call a pool of three whose deployments take 15 s for 2 % of the calls."""

    async def main() -> Tail:
        models = [SleepingModel(rng=Random(seed + n), slow_part=0.02, calls=[]) for n in range(3)]
        model = pool({f"d{n}": one for n, one in enumerate(models)}, hedge=hedge)
        loop = asyncio.get_running_loop()
        seconds: list[float] = []
        gate = asyncio.Semaphore(20)

        async def one() -> None:
            async with gate:
                began = loop.time()
                await model.ainvoke("hi")
                seconds.append(loop.time() - began)

        await asyncio.gather(*(one() for _ in range(calls)))
        seconds.sort()
        sent = sum(len(one.calls) for one in models)
        return Tail(seconds[int(0.99 * calls)], sent / calls - 1)

    result: Tail = run_virtually(main)
    return result


class Warmth(NamedTuple):
    """The cached tokens of all conversations, and the seconds until the last was over."""

    cached: int
    seconds: float


def warmth(deployments: int, *, sticky: bool = True, talks: int = 60, turns: int = 8) -> Warmth:
    """Hold conversations with long prompts over so many deployments."""

    async def main() -> Warmth:
        models = [SleepingModel(rng=Random(n), warm={}, calls=[]) for n in range(deployments)]
        model: Any = models[0]
        if deployments > 1:
            model = pool({f"d{n}": one for n, one in enumerate(models)}, sticky=sticky)
        cached = 0

        async def talk(number: int) -> None:
            nonlocal cached
            rng = Random(number)
            messages: list[BaseMessage] = [
                SystemMessage(f"You are number {number}. " + "x" * 40_000),
                HumanMessage("hi"),
            ]
            for _ in range(turns):
                answer = await model.ainvoke(messages)
                cached += answer.usage_metadata["input_token_details"]["cache_read"]
                messages += [AIMessage("ok"), HumanMessage("and then? " + "y" * 400)]
                await asyncio.sleep(rng.expovariate(1 / 10))

        await asyncio.gather(*(talk(number) for number in range(talks)))
        return Warmth(cached, asyncio.get_running_loop().time())

    result: Warmth = run_virtually(main)
    return result


__all__: Sequence[str] = ["tail", "warmth"]
