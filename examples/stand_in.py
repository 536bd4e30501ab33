"""The model the other examples talk to: the one you name, or else a stand-in that needs no key and no network.

In a program of your own this file is one line: `model = init_chat_model("openai:gpt-4o-mini")`.
It also shows what a chat model of your own takes: `_generate`, and what more of the four methods you can do better.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from modelwire import AIMessage, AIMessageChunk, init_chat_model
from modelwire.language_models import BaseChatModel
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from modelwire.testing import GenericFakeChatModel


class StandIn(BaseChatModel):
    """Answers what `answer` makes of the last message, word by word."""

    answer: Callable[[str], str]
    pause_s: float = 0.01  # for each word, streamed or not

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def _words(self, messages: Sequence[Any]) -> list[str]:
        return re.findall(r"\S+\s*", self.answer(messages[-1].text))

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        time.sleep(self.pause_s * len(self._words(messages)))
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(self.answer(messages[-1].text)))]
        )

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        await asyncio.sleep(self.pause_s * len(self._words(messages)))
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(self.answer(messages[-1].text)))]
        )

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[Any]:
        for word in self._words(messages):
            time.sleep(self.pause_s)
            yield ChatGenerationChunk(message=AIMessageChunk(word))

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        for word in self._words(messages):
            await asyncio.sleep(self.pause_s)
            yield ChatGenerationChunk(message=AIMessageChunk(word))


def chosen_model(
    arguments: Sequence[str], answer: Any, *, pause_s: float = 0.01, **parameters: Any
) -> BaseChatModel:
    """Return the model named by the first of `arguments` or by `MODEL` in the environment, or a stand-in.

    `answer` makes the stand-in's answer of the last text, or is a list of the messages it gives in turn.
    """
    if name := arguments[0] if arguments else os.environ.get("MODEL"):
        return init_chat_model(name, **parameters)
    if isinstance(answer, list):
        return GenericFakeChatModel(messages=iter(answer))
    return StandIn(answer=answer, pause_s=pause_s)
