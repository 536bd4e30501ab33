"""Converts content blocks of any wire to standard blocks, and messages and blocks to OpenAI's form.

`Wire.blocks` names the module that reads the blocks of a wire. That module has `FROM_WIRE` (type of
an input block -> function that returns the standard block, or None), `OWN_TYPES` (types of input
blocks without a standard form) and, if the wire's answers have blocks in a form of their own,
`answer_from_wire(message)`. A wire is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from modelwire.aliases import JSON, Values

if TYPE_CHECKING:
    from modelwire.messages.any_message import MessageLikeRepresentation

__all__ = [
    "convert_to_openai_data_block",
    "convert_to_openai_image_block",
    "convert_to_openai_messages",
]

_OPENAI = "modelwire.adapters.wires.openai_chat.convert_messages"


def _readers() -> Iterator[Any]:
    from modelwire.adapters.wires.wire import WIRES

    return filter(None, map(_reader, WIRES))


def _reader(name: str) -> Any:
    from modelwire.adapters.wires.wire import wire_named

    module = wire_named(name).blocks
    if module is None:
        return None
    return import_module(module)


def block_from_wire(block: JSON) -> JSON | None:
    """Return the standard block for an input block in the form of some wire; None if no wire can read it."""
    for wire in _readers():
        read = wire.FROM_WIRE.get(block["type"])
        if read is not None and (standard := read(block)) is not None:
            return dict(standard)
    return None


def is_readable(kind: str) -> bool:
    """Return whether some wire reads blocks of this type as standard ones."""
    return any(kind in wire.FROM_WIRE for wire in _readers())


def is_wire_type(kind: str) -> bool:
    """Return whether some wire has input blocks of this type, standard or not."""
    return any(kind in wire.FROM_WIRE or kind in wire.OWN_TYPES for wire in _readers())


def reader_of_provider(provider: str) -> Any:
    """Return the function that converts a provider's answers to standard blocks; None if they need no conversion.

    The answers of a service that speaks only Chat Completions are plain text and tool calls. One that speaks the
    Responses API too has its reader for both.
    """
    from modelwire.adapters.providers.rows import PROVIDERS

    # The table of services is not loaded for a provider that has a class of its own.
    row = PROVIDERS.get(provider)
    if row is None:
        from modelwire.adapters.providers.registry import known_row

        row = known_row(provider)
    if row is None:
        return None
    wire = "responses" if "responses" in row.wires else row.wire
    return getattr(_reader(wire), "answer_from_wire", None)


def convert_to_openai_messages(
    messages: MessageLikeRepresentation | Sequence[MessageLikeRepresentation],
    *,
    text_format: Literal["string", "block"] = "string",
    include_id: bool = False,
    pass_through_unknown_blocks: bool = True,
) -> JSON | list[JSON]:
    """Return messages as dicts of OpenAI's Chat Completions: a dict for one message, a list for several.

    `text_format="string"` joins content that is only text into one string, with line breaks;
    "block" makes all content a list of blocks. Tool results among the blocks of a message become
    messages of their own before it, as OpenAI requires, so that one message may become a list.
    Unknown blocks are passed on unchanged unless `pass_through_unknown_blocks=False`.

    Raises: `InvalidArgument` for an unknown `text_format`, an unknown block that may not pass, a
    block without a required key, and for content that OpenAI does not take.
    """
    converted: JSON | list[JSON] = import_module(_OPENAI).convert_messages(
        messages,
        text_format,
        include_id=include_id,
        pass_unknown_blocks=pass_through_unknown_blocks,
    )
    return converted


def convert_to_openai_image_block(block: Values) -> JSON:
    """Return an image block as a Chat Completions `image_url` part.

    Raises: `InvalidArgument` if it has no data.
    """
    return convert_to_openai_data_block({**block, "type": "image"})


def convert_to_openai_data_block(
    block: Values, api: Literal["chat/completions", "responses"] = "chat/completions"
) -> JSON:
    """Return an image, audio or file block as a content part of the OpenAI API named by `api`.

    A file sent inline without a name gets one, with a warning. Raises: `InvalidArgument` for
    content that the API does not take.
    """
    part: JSON = import_module(_OPENAI).convert_data_block(block, api)
    return part
