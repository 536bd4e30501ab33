"""Continues streams that broke: from the provider's copy of the answer, or by a request with the text so far.

"lossless" reads the rest of a background answer of the Responses API, beginning after the last event received.
"anchored" sends the text so far and asks the model to continue it; a repetition of its end is cut off. Tool calls and
structured output are never joined from two answers: they start again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from modelwire.adapters.model.call_parts import aconnection_of, connection_of
from modelwire.adapters.model.continuation import NextPart
from modelwire.adapters.model.results import result_of_chunks
from modelwire.adapters.model.run import astart_model_run, start_model_run
from modelwire.adapters.providers.model_families import family_of
from modelwire.aliases import JSON, Fields, HeaderFields, Kwargs
from modelwire.errors import (
    ChatError,
    IncompleteStream,
    InvalidArgument,
    Refused,
    RetryClass,
    StreamInterrupted,
)
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage, merge_chunks
from modelwire.messages.ai import restart_marker
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import settled
from modelwire.transport.call import interrupted, stream_flow
from modelwire.transport.drivers import adrive_stream, drive_stream

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments, Stop
    from modelwire.adapters.model.call_parts import ModelExchange
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.model.refusals import RefusalPolicy
    from modelwire.messages import BaseMessage
    from modelwire.runnables import RunnableConfig
    from modelwire.transport.wire import ServerEvent

# A stream is continued at most this many times.
_MOST_RESUMES = 4
# The beginning of a continuation is compared with this many characters at the end of the part, to find a repetition.
_TAIL_CHARS = 200
# A repetition of fewer characters is taken for chance, unless it is the whole part: "l" after "hel" is not one.
_LEAST_OVERLAP_CHARS = 8
# If the provider has not sent the usage, it is estimated with this many characters a token.
_CHARS_A_TOKEN = 4
# More chunks than this are replaced by their sum.
_FOLD_AT = 256
# The first chunk of a continuation has in its metadata, under this key, how many characters came before it.
_RESUMED_AT = "resumed_at"

_GO_ON = (
    "Your answer was cut off by a broken connection. Continue it exactly where it stopped: begin with the very next "
    "character, repeat nothing, and say nothing about this interruption."
)

_Chunk = AIMessageChunk


def resumed(stream: ResumableStream) -> Iterator[_Chunk]:
    """Yield the chunks of a stream and of the requests that continue it."""
    while True:
        exchange = stream.exchange
        chunks = drive_stream(stream_flow(exchange), connection_of(stream.model, exchange))
        try:
            for chunk in chunks:
                yield from stream.take(chunk)
            yield from stream.end()
            return
        except ChatError as error:
            yield from stream.go_on(error)
        finally:
            close(chunks)


async def aresumed(stream: ResumableStream) -> AsyncIterator[_Chunk]:
    """Yield the chunks of a stream and of the requests that continue it."""
    while True:
        exchange = stream.exchange
        chunks = adrive_stream(stream_flow(exchange), aconnection_of(stream.model, exchange))
        try:
            async for chunk in chunks:
                for one in stream.take(chunk):
                    yield one
            for one in stream.end():
                yield one
            return
        except ChatError as error:
            for one in stream.go_on(error):
                yield one
        finally:
            await aclose(chunks)


def continued_elsewhere(
    model: HTTPChatModel, part: _Chunk, input: Any, config: RunnableConfig, kwargs: Arguments
) -> Iterator[_Chunk]:
    """Yield the chunks with which `model` continues a part that another model has begun."""
    config = settled(config)
    messages = model._messages(input)
    stop = kwargs.pop("stop", None)
    with start_model_run(model, messages, config, {"stop": stop, **kwargs}) as run:
        exchange = model._exchange(messages, stop, run.config, kwargs, stream=True)
        stream = ResumableStream(model, exchange, messages, stop, run.config, kwargs, part)
        for chunk in resumed(stream):
            run.token(chunk)
            yield chunk
        run.end(result_of_chunks(run.received))


async def acontinued_elsewhere(
    model: HTTPChatModel, part: _Chunk, input: Any, config: RunnableConfig, kwargs: Arguments
) -> AsyncIterator[_Chunk]:
    """Yield the chunks with which `model` continues a part that another model has begun."""
    config = settled(config)
    messages = model._messages(input)
    stop = kwargs.pop("stop", None)
    key = await model._credentials().key(kwargs, config.get("deadline"))
    async with await astart_model_run(model, messages, config, {"stop": stop, **kwargs}) as run:
        exchange = model._exchange(
            messages, stop, run.config, kwargs, stream=True, is_async=True, key=key
        )
        stream = ResumableStream(
            model, exchange, messages, stop, run.config, kwargs, part, is_async=True
        )
        async for chunk in aresumed(stream):
            await run.token(chunk)
            yield chunk
        await run.end(result_of_chunks(run.received))


class ResumableStream:
    """One stream: the chunks yielded so far, and the request in flight. `before` is a part from another model."""

    def __init__(
        self,
        model: HTTPChatModel,
        exchange: ModelExchange,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        kwargs: Arguments,
        before: _Chunk | None = None,
        *,
        is_async: bool = False,
    ) -> None:
        self.model = model
        self._messages = messages
        self._stop = stop
        self._config = config
        self._kwargs = kwargs
        self._is_async = is_async
        self._policy = cast("RefusalPolicy", exchange.hooks.refusals)
        self._whole_request = exchange
        self._parts: list[_Chunk] = [] if before is None else [before]
        self._seam: _Seam | None = None
        self._count = 0  # The number of requests that continued the stream.
        self._tracked: _TrackedWire | None = None
        if exchange.policy.stream_resume == "lossless":
            self._tracked = _TrackedWire(exchange)
            exchange.wire = cast("Any", self._tracked)
        # A refusal is judged in `_checked`, by all parts together.
        exchange.hooks = exchange.hooks._replace(refusals=None)
        self.exchange = exchange
        if before is not None:
            self._anchor(before)

    def take(self, chunk: _Chunk) -> list[_Chunk]:
        """Return the chunks to yield for a chunk that has arrived; none if it is held back."""
        chunks = [chunk] if self._seam is None else self._seam.take(chunk)
        if chunks and chunks[-1].chunk_position == "last":
            chunks = self._checked(chunks)
        self._add(chunks)
        return chunks

    def end(self) -> list[_Chunk]:
        """Return the chunks that were held back until the stream ended."""
        chunks = [] if self._seam is None else self._seam.end()
        self._add(chunks)
        return chunks

    def _add(self, chunks: list[_Chunk]) -> None:
        self._parts += chunks
        if len(self._parts) > _FOLD_AT:
            self._parts = [merge_chunks(self._parts)]

    def _checked(self, chunks: list[_Chunk]) -> list[_Chunk]:
        """Return the last chunks; raise `Refused` instead if the whole answer is refused."""
        whole = merge_chunks([*self._parts, *chunks])
        error = self._policy.error(whole, self.exchange.wire.provider)
        if error is not None:
            raise self.exchange.signed(error)
        return [*chunks[:-1], *self._policy.ending(whole, chunks[-1:])]

    def go_on(self, error: ChatError) -> list[_Chunk]:
        """Prepare the request that continues the stream, or raise `error`; return the chunks that come before it.

        Chunks that are still held back are dropped, because they may be the beginning of a repetition.
        """
        self._seam = None
        if not self._may_go_on(error):
            raise self._given_up(error)
        self._count += 1
        if self._tracked is not None:
            self.exchange = self._tracked.rest(self._again(self._messages))
            return []
        whole = merge_chunks(self._parts)
        if self._is_stitchable(whole):
            self._anchor(whole)
            return []
        self.exchange = self._again(self._messages)
        marker = restart_marker()
        self._parts.append(marker)
        return [marker]

    def _given_up(self, error: ChatError) -> ChatError:
        """Return the error to raise, with all parts as `.partial`; it says whether another model may continue them."""
        if not self._parts or isinstance(error, Refused):
            return error
        error.partial = whole = merge_chunks(self._parts)
        if self.exchange.is_over():
            return error
        if not isinstance(error, IncompleteStream):
            error = interrupted(error)
        if isinstance(error, StreamInterrupted) and self._tracked is None:
            error.may_continue_elsewhere = self._is_stitchable(whole)
        return error

    def _may_go_on(self, error: ChatError) -> bool:
        if not self._parts or self._count >= _MOST_RESUMES or self.exchange.is_over():
            return False
        if not isinstance(error, IncompleteStream) or error.retry_class is RetryClass.FATAL:
            return False
        return self._tracked is None or self._tracked.can_go_on()

    def _is_stitchable(self, whole: _Chunk) -> bool:
        """Return whether the part is text alone, which another request may continue."""
        body = from_json(self._whole_request.content)
        has_form = not _FORMS.isdisjoint(body) or bool((body.get("text") or {}).get("format"))
        config = body.get("generationConfig") or {}
        has_form = has_form or "responseSchema" in config or "responseJsonSchema" in config
        if has_form or whole.tool_call_chunks or not str(whole.text):
            return False
        blocks = whole.content if isinstance(whole.content, list) else []
        kinds = {block.get("type") for block in blocks if isinstance(block, dict)}
        return kinds <= _STITCHED

    def _anchor(self, whole: _Chunk) -> None:
        """Replace the request by one that contains the part so far, for the model to continue."""
        text = str(whole.text)
        turns: list[BaseMessage] = [AIMessage(text)]
        if not self._takes_prefill():
            turns.append(HumanMessage(_GO_ON))
        self._seam = _Seam(whole, text, len(self.exchange.content))
        self.exchange = self._again([*self._messages, *turns])

    def _takes_prefill(self) -> bool:
        """Return whether the model continues a last turn of the assistant, by its family and its parameters."""
        wire = self.model._wire()
        body = from_json(self._whole_request.content)
        family = family_of(wire.owner, wire.name, str(self.model.model))
        thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
        return bool(getattr(family, "prefill", False)) and not thinks and not body.get("tools")

    def _again(self, messages: Sequence[BaseMessage]) -> ModelExchange:
        exchange = self.model._exchange(
            messages,
            self._stop,
            self._config,
            dict(self._kwargs),
            stream=True,
            is_async=self._is_async,
            ask=False,
        )
        exchange.headers = self._whole_request.headers  # These headers have the key.
        exchange.hooks = exchange.hooks._replace(refusals=None)
        return exchange


# A request with one of these fields gets a structured answer, which cannot be joined from two.
_FORMS = frozenset(("response_format", "output_config", "outputConfig", "output_format"))
# An answer can be continued if it has only blocks of these types.
_STITCHED = frozenset(("text", "reasoning", "thinking", "redacted_thinking", "reasoning_content"))


class _Seam:
    """Changes the chunks of a continuation so that they can follow the part.

    A repetition of the part's end is removed, blocks are renumbered, and the first chunk is marked.
    """

    def __init__(self, before: _Chunk, text: str, input_bytes: int) -> None:
        self._text = text
        self._tail = text[-_TAIL_CHARS:]
        self._in_place = NextPart(before, _metadata)
        # The chunks held back until it is known whether they repeat the part's end; None after that.
        self._held: list[_Chunk] | None = []
        self._usage = None
        if before.usage_metadata is None:
            made = ceil(len(text) / _CHARS_A_TOKEN)
            sent = ceil(input_bytes / _CHARS_A_TOKEN)
            self._usage = {"input_tokens": sent, "output_tokens": made, "total_tokens": sent + made}

    def take(self, chunk: _Chunk) -> list[_Chunk]:
        """Return the chunks that can be yielded now."""
        if self._held is None:
            return self._in_place([chunk])
        self._held.append(chunk)
        text = "".join(str(one.text) for one in self._held)
        if chunk.chunk_position != "last" and may_overlap(self._tail, text):
            return []
        return self.end()

    def end(self) -> list[_Chunk]:
        """Return the text that was held back, without its repetition of the part."""
        held = self._held
        self._held = None
        if not held:
            return []
        text = "".join(str(one.text) for one in held)
        left = overlap(self._tail, text)
        chunks = []
        for chunk in held:
            size = min(left, len(str(chunk.text)))
            left -= size
            chunks.append(_without(chunk, size) if size else chunk)
        about: Kwargs = {_RESUMED_AT: len(self._text)}
        if self._usage is not None:
            about["usage_estimated"] = True
        mark = _Chunk.from_wire(
            "", response_metadata=about, usage_metadata=cast("Any", self._usage)
        )
        return self._in_place([mark, *chunks])


def _metadata(first: Fields, last: Fields) -> JSON:
    """Return the metadata of the last chunk, with the id of the first part."""
    if "id" in first:
        return {**last, "id": first["id"]}
    return dict(last)


def _without(chunk: _Chunk, size: int) -> _Chunk:
    """Return a chunk without the first characters of its text."""
    content: Any = chunk.content
    if isinstance(content, str):
        return chunk.model_copy(update={"content": content[size:]})
    blocks = []
    for block in content:
        if isinstance(block, dict) and block.get("type") == "text" and size:
            text = str(block.get("text") or "")
            block = {**block, "text": text[size:]}
            size = max(0, size - len(text))
        blocks.append(block)
    return chunk.model_copy(update={"content": blocks})


def overlap(tail: str, text: str) -> int:
    """Return how many characters at the beginning of `text` repeat the end of `tail`: the longest match.

    White space that a prefill lost at its end counts, too, as far as `text` begins with it.
    """
    for size in range(min(len(tail), len(text)), 0, -1):
        if tail.endswith(text[:size]) and (size >= _LEAST_OVERLAP_CHARS or size == len(tail)):
            return size
    space = tail[len(tail.rstrip()) :]
    if space and text.startswith(space):
        return len(space)
    return 0


def may_overlap(tail: str, text: str) -> bool:
    """Return whether more characters may show that `text` repeats the end of `tail`."""
    if len(text) >= len(tail):
        return False
    return any(tail.startswith(text, at) for at in range(len(tail) - len(text)))


class _TrackedWire:
    """The codec of a lossless stream: one decoder reads the events of all its connections, each event once."""

    def __init__(self, exchange: ModelExchange) -> None:
        wire: Any = exchange.wire
        body = from_json(exchange.content)
        if not hasattr(wire, "answer_url") or body.get("background") is not True:
            raise InvalidArgument(
                'A stream resumes "lossless" only on the Responses API and in the background: call it with '
                '`use_responses_api=True` and `background=True`, or set `stream_resume="anchored"`.'
            )
        self._wire = wire
        self._url = exchange.url
        self.provider: str = wire.provider
        self.decode = wire.decode
        self.error = wire.error
        self._decoder: _TrackedDecoder | None = None  # The decoder of the stream.
        self._made = 0

    def stream_decoder(self, headers: HeaderFields) -> Any:
        """Return the decoder of the stream; every second call returns a new one, for the part if the stream fails."""
        self._made += 1
        if self._made % 2 == 0:
            return self._wire.stream_decoder(headers)
        if self._decoder is None or not self._decoder.has_chunks:
            self._decoder = _TrackedDecoder(self._wire.stream_decoder(headers))
        return self._decoder

    def can_go_on(self) -> bool:
        """Return whether the stream can be resumed: the provider has sent the answer's id and numbered events."""
        decoder = self._decoder
        return decoder is not None and decoder.sequence is not None and bool(decoder.response_id)

    def rest(self, exchange: ModelExchange) -> ModelExchange:
        """Return the exchange, changed to request the events after the last one received.

        Source: https://platform.openai.com/docs/api-reference/responses/get, read 2026-11.
        """
        decoder = cast("_TrackedDecoder", self._decoder)
        url = self._wire.answer_url(self._url, decoder.response_id)
        mark = "&" if "?" in url else "?"
        exchange.url = f"{url}{mark}stream=true&starting_after={decoder.sequence}"
        exchange.method = "GET"
        exchange.content = b""
        # Reading the provider's copy of the answer is not billed.
        exchange.hooks = exchange.hooks._replace(note=None)
        exchange.wire = cast("Any", self)
        self._made = 0
        return exchange


class _TrackedDecoder:
    """Records the id of the answer and the number of its last event, and skips events that are sent again."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.sequence: int | None = None
        self.response_id = ""
        self.has_chunks = False

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the inner decoder, such as `request_id`, `refused` or `close`."""
        return getattr(self._decoder, name)

    def feed(self, event: ServerEvent) -> list[_Chunk]:
        """Return the chunks of an event; none for one that was received before."""
        try:
            data = from_json(event.data)
        except ValueError:
            data = None
        if isinstance(data, dict):
            number = data.get("sequence_number")
            if isinstance(number, int):
                if self.sequence is not None and number <= self.sequence:
                    return []
                self.sequence = number
            response = data.get("response")
            if isinstance(response, dict) and isinstance(response.get("id"), str):
                self.response_id = response["id"]
        chunks: list[_Chunk] = self._decoder.feed(event)
        self.has_chunks = self.has_chunks or bool(chunks)
        return chunks
