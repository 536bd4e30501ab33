"""The events of a streamed Chat Completions answer as chunks. No I/O here.

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
# Of a delta, with the type whose pieces a sum joins: these leave as they come.
_PIECEWISE: dict[str, type] = {"refusal": str, "audio": dict, "function_call": dict}

_OF_CHOICE = ("content", "tool_calls", "invalid_tool_calls", "additional_kwargs")

_chunk = AIMessageChunk.from_wire


class _Call:
    """A tool call under way."""

    __slots__ = ("custom", "extras", "id", "index", "name", "pieces")

    def __init__(self, index: int) -> None:
        self.index = index  # ours: 0, 1, 2 in order of appearance
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []  # of the arguments' text
        self.custom = False
        self.extras: JSON = {}


class ChatCompletionsDecoder:
    """Decodes one stream: choice 0 as it comes; of each other choice, a decoder of its own keeps the chunks."""

    def __init__(self, provider: str, request_id: str | None = None) -> None:
        self._provider = provider
        self.request_id = request_id
        self.refused = False  # a piece of a refusal has come
        self._done = False
        self._begun = False  # whether there was any event but the terminal mark
        self._said = False  # whether a chunk has gone out
        self._id: str | None = None
        self._response: JSON = {}  # id, created, model, system_fingerprint: the first that is not empty; usage
        self._choice: JSON = {}  # index, finish_reason, logprobs
        self._extras: JSON = {}  # of response and choices, for `response_metadata`
        self._held: JSON = {}  # of deltas, for `additional_kwargs`
        self._details: list[Any] = []
        self._calls: list[_Call] = []
        self._call: _Call | None = None  # the latest
        self._call_by_wire_index: dict[int, _Call] = {}
        self._audio_cut = 0  # characters of base64 beyond whole fours
        self._audio_rest = b""  # up to two bytes, until there are three
        self._others: dict[
            Any, tuple[ChatCompletionsDecoder, list[AIMessageChunk]]
        ] = {}  # by the choice's index

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunk this event makes, if any."""
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
        # The usual event, tested for everything that would make it unusual.
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
                self._said = True
                return [_chunk(text, id=self._id)]
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        return self._read(name, answer)

    def _odd_json(self, name: str, data: bytes) -> Any:
        if name == "error":  # its data may be plain words
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
            response["usage"] = (
                usage  # the last one counts: some services send a running total with every event
            )
        choice, others = _split(answer.get("choices"))
        for other in others:
            self._keep(other)
        if extras := response_extras(answer, choice):
            self._extras.update(extras)
        return self._read_choice(choice) if choice else []

    def _keep(self, choice: JSON) -> None:
        """Read a piece of a choice that is not the answer."""
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
        # `message` stands in for `delta` in services that stream a whole answer as one event.
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
        self._said = True
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
        """Cut base64 where it may be joined: each piece may be padded for itself, as players want it."""
        data = audio.get("data")
        if not isinstance(data, str):
            return audio
        if not self._audio_rest and (
            self._audio_cut or not data.endswith("=")
        ):  # one text, cut wherever
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
        if (
            text == "null" and not call.pieces
        ):  # a tool without parameters (seen from vLLM, 2026-11)
            text = ""
        if custom or call.custom:
            text = _escaped(text, first=not call.custom)
            call.custom = True
        if text:
            call.pieces.append(text)
        return tool_call_chunk(name=new_name, args=text, id=new_id, index=call.index)

    def _call_of(self, wire_index: Any, id_: str | None, name: str | None) -> _Call:
        """Return the call a piece belongs to.

        The index decides, unless the id differs, which means another call (Gemini numbers all calls 0). Without an
        index the piece continues the latest call; an id, or a name after complete arguments, begins the next one.
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
        """Return the last chunk: no text, but all that comes once."""
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
        if not (self._said or kwargs):
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
        """Give the calls that came without an id one, and end the text of custom ones."""
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
    """Add a piece to those of its event: a sum joins the calls of two chunks, not two of one chunk."""
    for other in chunks:
        if other["index"] == chunk["index"]:
            other["name"] = other["name"] or chunk["name"]
            other["id"] = other["id"] or chunk["id"]
            other["args"] = (other["args"] or "") + (chunk["args"] or "")
            return
    chunks.append(chunk)


def _split(choices: Any) -> tuple[JSON, list[JSON]]:
    """Return what an event has of choice 0, nothing where it has none, and of others."""
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
    if pieces and not pieces[-1].endswith("}"):
        return False
    try:
        parse_tool_args("".join(pieces))
    except ValueError:
        return False
    return True


def _escaped(text: str | None, *, first: bool) -> str:
    """Wrap the free text of a custom tool, piece by piece, into the JSON object its arguments are to be."""
    from pydantic_core import to_json

    return ('{"__arg1":"' if first else "") + to_json(text or "").decode()[1:-1]
