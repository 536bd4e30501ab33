"""Converts the result of a call between its forms: a message, a chunk, a `ChatResult`. No I/O here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from modelwire.aliases import JSON
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    merge_chunks,
    message_chunk_to_message,
    tool_call_chunk,
)
from modelwire.messages.usage import add_usage
from modelwire.runnables.closing import aclose
from modelwire.runnables.lazy_rooms import outputs

if TYPE_CHECKING:
    from modelwire.messages import BaseMessage
    from modelwire.outputs import ChatGenerationChunk, ChatResult


def only_message(result: ChatResult) -> AIMessage:
    return cast("AIMessage", result.generations[0].message)


def signed(result: ChatResult, answer_id: str) -> ChatResult:
    """Set the id of an answer that has none; later answers of the same result get a number."""
    for number, generation in enumerate(result.generations):
        if generation.message.id is None:
            generation.message.id = answer_id if number == 0 else f"{answer_id}-{number}"
    return result


def signed_chunk(chunk: ChatGenerationChunk, answer_id: str) -> AIMessageChunk:
    message = cast("AIMessageChunk", chunk.message)
    if message.id is None:
        message.id = answer_id
    return message


def chunk_from_message(message: AIMessage) -> AIMessageChunk:
    """Return the whole answer as the only chunk of a stream."""
    calls = [
        tool_call_chunk(name=call["name"], args=_args_text(call["args"]), id=call["id"], index=i)
        for i, call in enumerate(
            [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
        )
    ]
    return AIMessageChunk.from_wire(
        message.content,
        id=message.id,
        tool_call_chunks=calls,
        usage_metadata=getattr(message, "usage_metadata", None),
        response_metadata=message.response_metadata,
        additional_kwargs=message.additional_kwargs,
        chunk_position="last",
    )


def _args_text(args: Any) -> str:
    """Return the arguments of a tool call as JSON text; those of an invalid one are text already."""
    if isinstance(args, str):
        return args
    return to_json(args or {}).decode()


def result_of(message: BaseMessage) -> ChatResult:
    """Return the `ChatResult` of an answer, with a generation for each choice; the first has the usage of all."""
    about = message.response_metadata
    output = {key: about[key] for key in ("model_name", "token_usage", "usage") if key in about}
    make = outputs.ChatGeneration.of_message
    generations = [make(message, _info(message))]
    for choice in about.get("other_choices", ()):
        other = _answer_of(choice, message)
        generations.append(make(other, _info(other)))
    return outputs.ChatResult.of(generations=generations, llm_output=output or None)


def combined_output(outputs: Sequence[JSON | None]) -> JSON:
    """Return the `llm_output` of several results: the name of the model, and the sum of their `token_usage`, if any."""
    known = [output for output in outputs if output]
    combined = {
        key: value for output in known[:1] for key, value in output.items() if key == "model_name"
    }
    if counts := [output["token_usage"] for output in known if output.get("token_usage")]:
        combined["token_usage"] = reduce(add_usage, counts)
    return combined


def _info(message: BaseMessage) -> JSON | None:
    """Return the finish reason and the log probabilities of an answer, as far as it has them; None for neither."""
    about = message.response_metadata
    return {key: about[key] for key in _OF_ONE if about.get(key) is not None} or None


def _answer_of(choice: JSON, first: BaseMessage) -> AIMessage:
    about = {name: value for name, value in first.response_metadata.items() if name not in _OF_ALL}
    fields = {name: choice[name] for name in _FIELDS}
    more = {name: value for name, value in choice.items() if name not in (*_FIELDS, "index")}
    return AIMessage.from_wire(id=first.id, response_metadata=about | more, **fields)


_OF_ALL = ("other_choices", "token_usage")
_OF_ONE = ("finish_reason", "logprobs")
_FIELDS = ("content", "tool_calls", "invalid_tool_calls", "additional_kwargs")


def result_of_stream(chunks: Sequence[AIMessageChunk]) -> ChatResult:
    """Return the `ChatResult` of a finished answer from its chunks, at least one."""
    return result_of(message_chunk_to_message(merge_chunks(chunks)))


async def acollected(chunks: AsyncIterator[AIMessageChunk]) -> ChatResult:
    """Read a whole stream and return the `ChatResult` of the sum of its chunks."""
    try:
        received = [chunk async for chunk in chunks]
    finally:
        await aclose(chunks)
    return result_of_stream(received)


def result_of_chunks(chunks: list[AIMessageChunk]) -> ChatResult:
    """Return the result of a stream, finished or not: the sum of its chunks, or no generation without chunks."""
    return outputs.ChatResult(
        generations=[generation_chunk(merge_chunks(chunks))] if chunks else []
    )


def generation_chunk(chunk: AIMessageChunk) -> ChatGenerationChunk:
    return outputs.ChatGenerationChunk(message=chunk, generation_info=_info(chunk))
