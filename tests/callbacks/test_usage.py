from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from modelwire.callbacks import (
    CallbackManager,
    UsageMetadataCallbackHandler,
    get_usage_metadata_callback,
)
from modelwire.messages import AIMessage
from modelwire.outputs import ChatGeneration, Generation, LLMResult


def answer(model: str | None, *, cached: int = 0) -> LLMResult:
    message = AIMessage(
        "x",
        usage_metadata={
            "input_tokens": 3,
            "output_tokens": 2,
            "total_tokens": 5,
            "input_token_details": {"cache_read": cached},
        },
        response_metadata={"model_name": model} if model else {},
    )
    return LLMResult(generations=[[ChatGeneration(message=message)]])


def call(result: LLMResult, callbacks: Any = None) -> None:
    (run,) = CallbackManager.configure(callbacks).on_llm_start({}, ["p"])
    run.on_llm_end(result)


def test_usage_is_summed_by_model_name_and_detail_by_detail() -> None:
    handler = UsageMetadataCallbackHandler()
    for result in (answer("a", cached=1), answer("b"), answer("a", cached=2)):
        call(result, [handler])
    assert handler.usage_metadata["a"] == {
        "input_tokens": 6,
        "output_tokens": 4,
        "total_tokens": 10,
        "input_token_details": {"cache_read": 3},
    }
    assert handler.usage_metadata["b"]["total_tokens"] == 5
    assert repr(handler) == repr(handler.usage_metadata)


def test_answers_without_a_model_or_a_message_count_nothing() -> None:
    handler = UsageMetadataCallbackHandler()
    call(answer(None), [handler])
    call(LLMResult(generations=[[Generation(text="x")]]), [handler])
    assert handler.usage_metadata == {}


def test_the_context_counts_what_happens_inside_and_blocks_nest() -> None:
    call(answer("a"))
    with get_usage_metadata_callback() as outer:
        call(answer("a"))
        with get_usage_metadata_callback(name="inner") as inner:
            call(answer("a"))
    call(answer("a"))
    assert outer.usage_metadata["a"]["total_tokens"] == 10
    assert inner.usage_metadata["a"]["total_tokens"] == 5


def test_threads_lose_no_count() -> None:
    handler = UsageMetadataCallbackHandler()
    result = answer("a")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: handler.on_llm_end(result), range(400)))
    assert handler.usage_metadata["a"]["total_tokens"] == 2000
