"""Converts messages to the `input` of the Responses API, a list of items. No I/O here.

An answer of this API becomes the items that it consists of: messages with ids and phases, reasoning with its encrypted
content, calls, and server tools with their results. Of another API's answer, only the text and the calls are sent.
Wire format: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.adapters.wires.json import dict_or_empty, dicts_in, text_or_none
from modelwire.adapters.wires.openai_chat.blocks_to_wire import Place
from modelwire.adapters.wires.openai_chat.messages import arguments_json, unsendable
from modelwire.adapters.wires.openai_responses.blocks_from_wire import OWN_TYPES
from modelwire.adapters.wires.openai_responses.blocks_to_wire import ADDED, INPUTS, to_wire
from modelwire.adapters.wires.outgoing_messages import with_paired_calls
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.base import LC_AUTO_PREFIX
from modelwire.messages.block_translators.standard import (
    MODEL_WORK,
    AnyBlock,
    as_blocks,
    extras_of,
    some_of,
    type_of,
    without,
)
from modelwire.messages.tool_calls import CALL_EXTRAS, parse_tool_args

if TYPE_CHECKING:
    from modelwire.messages import AIMessage, BaseMessage

Item = dict[str, Any]

_ROLES = frozenset({"user", "assistant", "system", "developer"})
_CALLS = frozenset({"function_call", "custom_tool_call", "tool_call"})
# The fields by which an item refers to a stored one.
_ITEM_NAMES = frozenset({"id", "status"})
# The types of items that have these fields.
_NAMED = _CALLS | {"message"}


class History(NamedTuple):
    """The settings of a call, besides its messages, that the items depend on."""

    # The provider whose answers are sent unchanged.
    provider: str = "openai"
    # The provider stores answers, so that a request may refer to their parts by id.
    stored: bool = True
    # The names of the tools that take free text.
    custom_tools: frozenset[str] = frozenset()


def items_from_messages(
    messages: Sequence[BaseMessage], history: History, *, since: int = 0
) -> list[Item]:
    """Return the items of `messages[since:]`, in order. The `name` of a message is not sent, as the API has none.

    Raises `InvalidArgument` for content that the wire does not accept, `InvalidType` for an unknown type of message.
    """
    known = messages[:since]
    new = with_paired_calls(messages[since:])
    free_text_calls = frozenset(_free_text_calls([*known, *new], history))
    items: list[Item] = []
    for position, message in enumerate(new, since):
        place = _Place(position, history, free_text_calls)
        kind = getattr(message, "type", "")
        # A chunk is converted like a message.
        write = TO_WIRE.get(kind) or TO_WIRE.get(str(kind).removesuffix("MessageChunk").lower())
        if kind == "function":
            raise InvalidArgument(
                f"{place} is a `FunctionMessage`: the Responses API requires a `ToolMessage`."
            )
        if write is None:
            raise unsendable(message, position)
        items += write(message, place)
    return items


class _Place(NamedTuple):
    """The position of a message, the settings of the call, and the ids of all calls of custom tools."""

    position: int
    history: History
    free_text_calls: frozenset[str]

    def __str__(self) -> str:
        return f"Message {self.position}"


def _free_text_calls(messages: Sequence[Any], history: History) -> Iterable[str]:
    """Yield the ids of the calls of custom tools, which take free text. Their results are items of another type."""
    for message in messages:
        extras = message.additional_kwargs.get(CALL_EXTRAS)  # in answers of Chat Completions
        for id_, more in dict_or_empty(extras).items():
            if type_of(more) == "custom":
                yield id_
        for call in getattr(message, "tool_calls", ()):
            if call["name"] in history.custom_tools and call["id"]:
                yield call["id"]
        content = message.content
        if not isinstance(content, list):
            continue
        for block in content:
            kind = type_of(block)
            if kind == "custom_tool_call" and isinstance(block.get("call_id"), str):
                yield block["call_id"]
            if kind == "tool_call":  # a standard block, which may have been made of such an item
                item_id = str(extras_of(block).get("item_id"))
                if item_id.startswith("ctc_"):
                    yield str(block.get("id"))


def _human(message: Any, place: _Place) -> list[Item]:
    return _items_of_role("user", message.content, place)


def _system(message: Any, place: _Place) -> list[Item]:
    # `convert_to_messages` keeps the role `developer` of a dict under this key.
    return _items_of_role(
        message.additional_kwargs.get("__openai_role__") or "system", message.content, place
    )


def _chat(message: Any, place: _Place) -> list[Item]:
    if message.role not in _ROLES:
        raise InvalidArgument(
            f"{place}: the Responses API has no role `{message.role}`; it has {sorted(_ROLES)}."
        )
    return _items_of_role(message.role, message.content, place)


def _items_of_role(role: str, content: Any, place: _Place) -> list[Item]:
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    items: list[Item] = []
    parts: list[Item] = []
    for block in content:
        kind = type_of(block)
        if kind == "tool_result":  # Anthropic's block
            output = _output(block.get("content") or "", place)
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": block.get("tool_use_id"),
                    "output": output,
                }
            )
        elif kind in OWN_TYPES or kind.endswith("_output"):
            items.append(without(block, *ADDED))
        else:
            if not items or items[-1].get("content") is not parts:
                parts = []
                items.append({"role": role, "content": parts})
            parts.append(to_wire(block, str(place)))
    return items or [{"role": role, "content": ""}]


def _tool(message: Any, place: _Place) -> list[Item]:
    id_ = message.tool_call_id
    kind = type_of(message.additional_kwargs)
    if not kind.endswith("_output"):
        kind = "custom_tool_call_output" if id_ in place.free_text_calls else "function_call_output"
    item: Item = {"type": kind, "call_id": id_}
    if kind == "computer_call_output":
        item["output"] = _screenshot(message.content, place)
        if checks := message.additional_kwargs.get("acknowledged_safety_checks"):
            item["acknowledged_safety_checks"] = checks
    else:
        item["output"] = _output(message.content, place)
    return [item]


def _output(content: Any, place: _Place) -> str | list[Item]:
    if not isinstance(content, str | Sequence):
        raise InvalidType(
            f"{place}: the result of a tool is a text or a list, not a `{type(content).__name__}`."
        )
    if isinstance(content, str):
        return content
    return [to_wire(block, str(place)) for block in content]


def _screenshot(content: Any, place: _Place) -> Item:
    if isinstance(content, str):
        return {"type": "computer_screenshot", "image_url": content}
    for block in content:
        if isinstance(block, Mapping):
            if block.get("type") == "computer_screenshot":
                part = dict(block)
            else:
                part = to_wire(block, str(place))
            if part["type"] in ("computer_screenshot", "input_image"):
                return {"type": "computer_screenshot", **some_of(part, "image_url", "file_id")}
    raise InvalidArgument(
        f"{place}: the result of a computer call must be a screenshot, but it has no image."
    )


def _ai(message: AIMessage, place: _Place) -> list[Item]:
    answer = _Answer(message, place)
    for block in as_blocks(message.content):
        answer.add(block)
    return answer.items_and_rest()


class _Answer:
    """Converts an answer, block by block, to items."""

    def __init__(self, message: AIMessage, place: _Place) -> None:
        self._message = message
        self._place = place
        provider = message.response_metadata.get("model_provider")
        self._own = provider in (None, place.history.provider)
        self._calls: dict[Any, Any] = {call["id"]: call for call in message.tool_calls}
        self._call_ids: set[Any] = set()  # ids of the calls that have an item
        self._items: list[Item] = []
        self._has_lost_reasoning = False  # Reasoning that the provider does not store was left out.

    def add(self, block: Any) -> None:
        """Add the item for a block. Raises `InvalidType` or `InvalidArgument` for a value that is not a block."""
        kind = type_of(block) or Place(str(self._place)).kind_of(block)
        if kind in ("text", "output_text", "refusal"):
            self._words(block, kind)
        elif kind in _CALLS:
            self._call(block)
        elif not self._own:
            return
        elif kind == "reasoning":
            self._reasoning(block)
        elif kind == "non_standard" and isinstance(block.get("value"), Mapping):
            self._items.append(dict(block["value"]))
        elif kind == "image" and _item_id(block) and block.get("base64"):
            self._items.append(_generated_image(block))
        elif kind in INPUTS:
            where = f"{self._place} (`assistant`)"
            raise Place(where, role="assistant", api="the Responses API").misplaced(kind)
        elif kind == "server_tool_call":
            # The id of this standard block refers to an item that the provider may have stored.
            if self._place.history.stored and block.get("id"):
                self._items.append({"type": "item_reference", "id": block["id"]})
        elif kind not in MODEL_WORK and not kind.endswith("_tool_result"):
            self._items.append(without(block, *ADDED))

    def items_and_rest(self) -> list[Item]:
        """Return all items, followed by the calls that no block has."""
        message = self._message
        items = self._items
        refusal = text_or_none(message.additional_kwargs.get("refusal"))  # of Chat Completions
        if refusal is not None:
            self._words({"refusal": refusal}, "refusal")
        for call in message.tool_calls:
            if call["id"] not in self._call_ids:
                items.append(self._call_item(call["id"], call["name"], call["args"]))
        for bad in message.invalid_tool_calls:
            if bad["id"] not in self._call_ids:
                items.append(_function_call(bad["id"], bad["name"], bad["args"] or ""))
        if self._has_lost_reasoning:  # The API rejects the ids of items whose reasoning is missing.
            for place, item in enumerate(items):
                if item.get("type") in _NAMED:
                    items[place] = without(item, *_ITEM_NAMES)
        return items or [{"type": "message", "role": "assistant", "content": ""}]

    def _words(self, block: AnyBlock, kind: str) -> None:
        key = "refusal" if kind == "refusal" else "text"
        words = block.get(key)
        if not isinstance(words, str):
            raise InvalidArgument(f"{self._place}: a `{kind}` block needs `{key}`, a string.")
        id_ = _item_id(block) if self._own else None
        if not words and id_ is None:
            return
        # A standard block with a refusal has its phase in `extras`.
        phase_name = block.get("phase") or extras_of(block).get("phase")
        phase = {"phase": phase_name} if phase_name else {}
        content = _content_of(block, key, is_named=id_ is not None)
        last = self._items[-1] if self._items else {}
        is_same = last.get("id") == id_ and last.get("phase") == phase.get("phase")
        is_assistants = last.get("role") == "assistant"
        if is_same and is_assistants and isinstance(last["content"], type(content)):
            last["content"] += content
            return
        # The type is set, because llama.cpp's server (2026-10) does not recognise the assistant's items without it.
        item: Item = {"type": "message", "role": "assistant", "content": content, **phase}
        if id_:
            status = self._message.response_metadata.get("status")
            item["id"] = id_
            item["status"] = status if status == "incomplete" else "completed"
        self._items.append(item)

    def _call(self, block: AnyBlock) -> None:
        """Add the item of a call, with the arguments of `tool_calls` if the program has changed them."""
        is_standard = block["type"] == "tool_call"
        id_ = block.get("id" if is_standard else "call_id")
        if not isinstance(id_, str | None):
            raise InvalidArgument(
                f"{self._place}: the id of a tool call is a string, not a `{type(id_).__name__}`."
            )
        if is_standard:
            item = self._call_item(id_, block.get("name"), self._calls.get(id_, block).get("args"))
            if self._own:
                extras = extras_of(block)
                item_id = extras.pop("item_id", None)
                if item_id:
                    item["id"] = item_id
                item |= extras
        else:
            item = without(block, *(ADDED if self._own else ADDED | _ITEM_NAMES))
            call = self._calls.get(id_)
            if call is not None and call["args"] != _args_of(item):
                item |= self._call_item(id_, call["name"], call["args"])
        self._call_ids.add(id_)
        self._items.append(item)

    def _call_item(self, id_: Any, name: Any, args: Any) -> Item:
        if id_ in self._place.free_text_calls:
            text = args.get("__arg1") if isinstance(args, Mapping) else None
            text = text if isinstance(text, str) else self._arguments(args)
            return {"type": "custom_tool_call", "call_id": id_, "name": name, "input": text}
        return _function_call(id_, name, self._arguments(args))

    def _arguments(self, args: Any) -> str:
        return arguments_json({} if args is None else args, self._place.position)

    def _reasoning(self, block: AnyBlock) -> None:
        if "summary" in block or "content" in block or "encrypted_content" in block:
            item = without(block, *ADDED)
            for key in ("summary", "content"):
                if isinstance(parts := item.get(key), list):
                    item[key] = [
                        without(part, *ADDED) if isinstance(part, Mapping) else part
                        for part in parts
                    ]
            item.setdefault("summary", [])
        elif block.get("id"):  # A standard block has one part of an item's summary.
            text = block.get("reasoning")
            summary = [{"type": "summary_text", "text": text}] if text else []
            item = {"type": "reasoning", "id": block["id"], "summary": summary, **extras_of(block)}
            last = self._items[-1] if self._items else {}
            if last.get("type") == "reasoning" and last.get("id") == item["id"]:
                last["summary"] += summary
                return
        else:
            return
        is_known = self._place.history.stored or item.get("encrypted_content")
        if is_known:
            self._items.append(item)
        else:
            self._has_lost_reasoning = True


def _content_of(block: AnyBlock, key: str, *, is_named: bool) -> Any:
    """Return the text or refusal of a block as content: a list of parts, or a string for a text without an id."""
    words = block[key]
    if key == "refusal":
        return [{"type": "refusal", "refusal": words}]
    if not is_named:
        return words
    return [{"type": "output_text", "text": words, "annotations": _annotations(block)}]


def _annotations(block: AnyBlock) -> list[Any]:
    """Return the citations of a text that have the wire's form, not the standard one."""
    standard = ("citation", "non_standard_annotation")
    return [it for it in dicts_in(block.get("annotations")) if it.get("type") not in standard]


def _item_id(block: AnyBlock) -> str | None:
    """Return the id that the provider gave the item of a block; None if it has none, or one of our own."""
    id_ = block.get("id")
    if not isinstance(id_, str) or id_.startswith(LC_AUTO_PREFIX):
        return None
    return id_


def _generated_image(block: AnyBlock) -> Item:
    """Return the item for a standard block with an image that the model generated."""
    return {
        "type": "image_generation_call",
        "id": block["id"],
        "result": block["base64"],
        "status": "completed",
    }


def _function_call(id_: Any, name: Any, arguments: str) -> Item:
    return {"type": "function_call", "call_id": id_, "name": name or "", "arguments": arguments}


def _args_of(item: Item) -> Any:
    """Return the arguments of a call's item in the form of `AIMessage.tool_calls`; None if they are not valid JSON."""
    if item["type"] == "custom_tool_call":
        return {"__arg1": item.get("input") or ""}
    try:
        return parse_tool_args(item.get("arguments"))
    except ValueError:
        return None


TO_WIRE: dict[str, Callable[[Any, _Place], list[Item]]] = {
    "human": _human,
    "ai": _ai,
    "system": _system,
    "tool": _tool,
    "chat": _chat,
}
