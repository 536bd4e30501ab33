"""Decodes the events of a streamed Chat Completions answer into chunks. No I/O here.

Each piece of text becomes a chunk immediately. Values that services repeat, extend, or send at any time (id, model,
finish reason, usage, log probabilities, annotations) are collected and sent once, in the last chunk, because a sum of
chunks joins texts and adds numbers. The choices after the first are in the last chunk, too.
Wire format: https://platform.openai.com/docs/api-reference/chat-streaming, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import (
    dict_or_empty,
    error_from_json,
    is_keep_alive,
    malformed,
    read_json,
    text_or_none,
)
from modelwire.adapters.wires.openai_chat.response import (
    content_and_thinking,
    error_within,
    generated_call_id,
    merged_details,
    message_extras,
    number_of,
    other_choice,
    reasoning_text,
    response_extras,
    response_metadata,
    tool_call_parts,
    usage_of,
)
from modelwire.aliases import JSON
from modelwire.errors import IncompleteStream
from modelwire.messages import AIMessageChunk, merge_chunks
from modelwire.messages.tool_calls import (
    CALL_EXTRAS,
    ToolCallChunk,
    parse_tool_args,
    tool_call_chunk,
    tool_call_extras,
)
from modelwire.transport.wire import ServerEvent

_DONE = b"[DONE]"
# The fields of a delta, and their types, that go into a chunk immediately, because a sum of chunks joins their pieces.
_PIECEWISE: dict[str, type] = {"refusal": str, "audio": dict, "function_call": dict}

# The fields of a message that an entry of `other_choices` has.
_OF_CHOICE = ("content", "tool_calls", "invalid_tool_calls", "additional_kwargs")

_chunk = AIMessageChunk.from_wire


class _Call:
    """A tool call whose pieces are still being streamed."""

    __slots__ = ("custom", "extras", "id", "index", "name", "pieces")

    def __init__(self, index: int) -> None:
        self.index = index  # our number of the call: 0, 1, 2 in order of appearance
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []  # the pieces of the arguments' text
        self.custom = False
        self.extras: JSON = {}


class ChatCompletionsDecoder:
    """Decodes one streamed answer. Choice 0 becomes chunks at once; any other choice is in the last chunk."""

    def __init__(self, provider: str, request_id: str | None = None) -> None:
        self._provider = provider
        self.request_id = request_id
        self.refused = False  # True once a piece of a refusal was received.
        self._done = False  # True once `[DONE]` was received.
        self._begun = False  # True once any other event was received.
        self._has_chunks = False  # True once a chunk was returned.
        self._id: str | None = None
        # The first non-empty id, created, model and system_fingerprint of the events, and the last usage.
        self._response: JSON = {}
        self._choice: JSON = {}  # index, finish_reason, logprobs
        self._extras: JSON = {}  # other fields of events and choices, for `response_metadata`
        self._held: JSON = {}  # other fields of deltas, for `additional_kwargs` of the last chunk
        self._details: list[Any] = []  # pieces of `reasoning_details`
        self._calls: list[_Call] = []
        self._call: _Call | None = None  # the call of the latest piece
        self._call_by_wire_index: dict[int, _Call] = {}
        self._audio_cut = 0  # the number of base64 characters so far, modulo 4
        self._audio_rest = b""  # up to two bytes of audio that do not fill three bytes yet
        # The decoder of each other choice and its chunks, by the choice's index.
        self._others: dict[Any, tuple[ChatCompletionsDecoder, list[AIMessageChunk]]] = {}

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunk that this event completes, in a list that may be empty."""
        name, data = event
        try:
            answer = from_json(data)
        except ValueError:
            if self._done or data.strip() == _DONE:
                self._done = True
                return []
            if is_keep_alive(name, data):
                return []
            answer = self._odd_json(name, data)
        if self._done:
            return []
        # Nearly all events have a text and nothing else. They are recognised here, and all others go to `_read`.
        try:
            (choice,) = answer["choices"]
            delta = choice["delta"]
            text = delta["content"]
            if (
                type(text) is str
                and text
                and (len(delta) == 1 or (len(delta) == 2 and "role" in delta))
                and self._id is not None
                and not choice.get("finish_reason")
                and not choice.get("index")
                and not choice.get("logprobs")
                and not answer.get("usage")
                and not answer.get("error")
                and name != "error"
            ):
                self._has_chunks = True
                return [_chunk(text, id=self._id)]
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        return self._read(name, answer)

    def _odd_json(self, name: str, data: bytes) -> Any:
        if name == "error":  # The data of an error event may be plain text.
            return data.decode("utf-8", "replace")
        return read_json(data, provider=self._provider, status=200, what="stream event")

    def _read(self, name: str, answer: Any) -> list[AIMessageChunk]:
        if failed := (answer or "error") if name == "error" else error_within(answer):
            raise error_from_json(
                failed, provider=self._provider, status=200, model=self._response.get("model")
            )
        if not isinstance(answer, dict):
            raise malformed(
                f"A stream event of `{self._provider}` is not a JSON object.",
                answer,
                provider=self._provider,
                status=200,
            )
        self._begun = True
        response = self._response
        for key in ("id", "created", "model", "system_fingerprint"):
            if key not in response and answer.get(key):
                response[key] = answer[key]
        if self._id is None:
            self._id = text_or_none(answer.get("id"))
        usage = answer.get("usage") or dict_or_empty(answer.get("x_groq")).get("usage")
        if isinstance(usage, dict) and usage:
            # The last one is right: some services send a running total with every event.
            response["usage"] = usage
        choice, others = _split(answer.get("choices"))
        for other in others:
            self._keep(other)
        if extras := response_extras(answer, choice):
            self._extras.update(extras)
        return self._read_choice(choice) if choice else []

    def _keep(self, choice: JSON) -> None:
        """Decode a piece of a choice after the first, and store its chunks for the end of the stream."""
        decoder, chunks = self._others.setdefault(
            str(choice["index"]), (ChatCompletionsDecoder(self._provider), [])
        )
        decoder._response = self._response
        decoder._id = self._id
        decoder._begun = True
        decoder._choice["index"] = choice["index"]
        decoder._extras |= response_extras({}, choice)
        chunks += decoder._read_choice(choice)

    def _read_choice(self, choice: JSON) -> list[AIMessageChunk]:
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self._choice["finish_reason"] = reason
        if isinstance(logprobs := choice.get("logprobs"), dict):
            for key, tokens in logprobs.items():
                if isinstance(tokens, list):
                    self._choice.setdefault("logprobs", {}).setdefault(key, []).extend(tokens)
        # Services that stream a whole answer as one event have `message` instead of `delta`.
        delta = choice["delta"] if "delta" in choice else choice.get("message")
        if not isinstance(delta, dict):
            return []
        content: Any = delta.get("content") or ""
        thought = ""
        if type(content) is not str:
            content, thought = content_and_thinking(content)
        thought += reasoning_text(delta)
        kwargs = self._message_extras(delta)
        if thought:
            kwargs["reasoning_content"] = thought
        pieces: Sequence[ToolCallChunk] = ()
        if calls := delta.get("tool_calls"):
            pieces = self._tool_call_chunks(calls)
        if not (content or kwargs or pieces):
            return []
        self._has_chunks = True
        return [
            _chunk(content, id=self._id, tool_call_chunks=pieces, additional_kwargs=kwargs or None)
        ]

    def _message_extras(self, delta: JSON) -> JSON:
        if isinstance(details := delta.get("reasoning_details"), list):
            self._details += details
        now: JSON = {}
        for key, value in message_extras(delta).items():
            if key in _PIECEWISE:
                if isinstance(value, _PIECEWISE[key]):
                    now[key] = value
                    self.refused = self.refused or key == "refusal"
            elif isinstance(value, list) and isinstance(self._held.get(key), list):
                self._held[key] = self._held[key] + value
            else:
                self._held[key] = value
        if "audio" in now:
            now["audio"] = self._joinable(now["audio"])
        return now

    def _joinable(self, audio: JSON) -> JSON:
        """Return a piece of audio whose base64 can be joined with the other pieces.

        Some services pad each piece, so that it can be played alone. Such a piece is cut at a multiple of three bytes,
        and the remaining bytes begin the next piece.
        """
        data = audio.get("data")
        if not isinstance(data, str):
            return audio
        is_unpadded = self._audio_cut or not data.endswith("=")
        if not self._audio_rest and is_unpadded:
            self._audio_cut = (self._audio_cut + len(data)) % 4
            return audio
        from binascii import a2b_base64

        try:
            raw = self._audio_rest + a2b_base64(data, strict_mode=True)
        except ValueError:
            return audio
        end = len(raw) - len(raw) % 3
        self._audio_rest = raw[end:]
        return {**audio, "data": _base64(raw[:end])}

    def _tool_call_chunks(self, pieces: Any) -> list[ToolCallChunk]:
        if not isinstance(pieces, list):
            return []
        chunks: list[ToolCallChunk] = []
        for piece in pieces:
            if isinstance(piece, dict):
                _add_tool_call_chunk(chunks, self._tool_call_chunk(piece))
        return chunks

    def _tool_call_chunk(self, piece: JSON) -> ToolCallChunk:
        id_ = text_or_none(piece.get("id"))
        name, text, custom = tool_call_parts(piece)
        call = self._call_of(piece.get("index"), id_, name)
        new_id = id_ if call.id is None else None
        new_name = name if call.name is None else None
        call.id = call.id or id_
        call.name = call.name or name
        call.extras |= tool_call_extras(piece)
        if text == "null" and not call.pieces:  # a tool without parameters (vLLM, 2026-11)
            text = ""
        if custom or call.custom:
            text = _escaped(text, first=not call.custom)
            call.custom = True
        if text:
            call.pieces.append(text)
        return tool_call_chunk(name=new_name, args=text, id=new_id, index=call.index)

    def _call_of(self, wire_index: Any, id_: str | None, name: str | None) -> _Call:
        """Return the call that a piece belongs to.

        The index decides, but a different id means another call (Gemini numbers all calls 0). A piece without an index
        continues the latest call; a different id, or a name after complete arguments, begins a new call.
        """
        call = self._call_by_wire_index.get(wire_index) if type(wire_index) is int else self._call
        if call is not None:
            another = id_ is not None and call.id is not None and id_ != call.id
            if not another and id_ is None and name and type(wire_index) is not int:
                another = call.name is not None and _is_whole(call.pieces)
            if another:
                call = None
        if call is None:
            call = _Call(len(self._calls))
            self._calls.append(call)
            if type(wire_index) is int:
                self._call_by_wire_index[wire_index] = call
        self._call = call
        return call

    def close(self) -> list[AIMessageChunk]:
        """Return the last chunk, with everything that was collected, and no text. See `StreamDecoder.close`."""
        if "finish_reason" not in self._choice and not self._done:
            raise IncompleteStream(
                f"The stream of `{self._provider}` ended without `finish_reason` and without `[DONE]`: part of the "
                "answer is missing.",
                provider=self._provider,
                model=self._response.get("model"),
            )
        if not self._begun:
            raise malformed(
                f"The stream of `{self._provider}` holds no answer.",
                _DONE,
                provider=self._provider,
                status=200,
            )
        metadata = response_metadata(
            self._response,
            self._choice,
            self._extras,
            provider=self._provider,
            request_id=self.request_id,
        )
        if self._others:
            metadata["other_choices"] = self._other_choices()
        kwargs = self._last_kwargs()
        if not (self._has_chunks or kwargs):
            reason = metadata["finish_reason"]
            check_empty("openai", reason, provider=self._provider, request_id=self.request_id)
        return [
            _chunk(
                "",
                id=self._id,
                tool_call_chunks=self._last_tool_call_chunks(),
                usage_metadata=usage_of(self._response.get("usage")),
                response_metadata=metadata,
                additional_kwargs=kwargs or None,
                chunk_position="last",
            )
        ]

    def _last_kwargs(self) -> JSON:
        kwargs = dict(self._held)
        if self._details:
            kwargs["reasoning_details"] = merged_details(self._details)
        if self._audio_rest:
            kwargs["audio"] = {"data": _base64(self._audio_rest)}
        extras: JSON = {}
        for call in self._calls:
            more = {"type": "custom", **call.extras} if call.custom else call.extras
            if more:
                extras[self._id_of(call)] = more
        if extras:
            kwargs[CALL_EXTRAS] = extras
        return kwargs

    def _other_choices(self) -> list[JSON]:
        choices = []
        for decoder, chunks in self._others.values():
            decoder._done = self._done
            whole = merge_chunks([*chunks, *decoder.close()])
            fields = {name: getattr(whole, name) for name in _OF_CHOICE}
            choices.append(other_choice(decoder._choice, fields, decoder._extras))
        return sorted(choices, key=number_of)

    def _id_of(self, call: _Call) -> str:
        return call.id or generated_call_id(self._response, call.index, call.name)

    def _last_tool_call_chunks(self) -> list[ToolCallChunk]:
        """Return chunks that add an id to the calls without one, and end the JSON of custom tools' calls."""
        return [
            tool_call_chunk(
                args='"}' if call.custom else None,
                id=None if call.id else self._id_of(call),
                index=call.index,
            )
            for call in self._calls
            if call.custom or not call.id
        ]


def _add_tool_call_chunk(chunks: list[ToolCallChunk], chunk: ToolCallChunk) -> None:
    """Add a piece to the list of its event, joined with a piece of the same call.

    A sum joins pieces of a call only if they are in different chunks.
    """
    for other in chunks:
        if other["index"] == chunk["index"]:
            other["name"] = other["name"] or chunk["name"]
            other["id"] = other["id"] or chunk["id"]
            other["args"] = (other["args"] or "") + (chunk["args"] or "")
            return
    chunks.append(chunk)


def _split(choices: Any) -> tuple[JSON, list[JSON]]:
    """Return an event's choice 0, or {} if it is missing, and its other choices."""
    first: JSON | None = None
    others = []
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            if choice.get("index"):
                others.append(choice)
            elif first is None:
                first = choice
    return first or {}, others


def _base64(raw: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(raw, newline=False).decode("ascii")


def _is_whole(pieces: list[str]) -> bool:
    """Return whether the pieces of a call's arguments are complete JSON."""
    if pieces and not pieces[-1].endswith("}"):
        return False
    try:
        parse_tool_args("".join(pieces))
    except ValueError:
        return False
    return True


def _escaped(text: str | None, *, first: bool) -> str:
    """Return a piece of a custom tool's free text as a piece of the JSON object `{"__arg1": text}`."""
    from pydantic_core import to_json

    return ('{"__arg1":"' if first else "") + to_json(text or "").decode()[1:-1]
