"""Where the marks of a prompt cache stand in a request: the rules of all wires that have marks. No I/O here.

A mark ends a prefix that the provider stores, or reads if it has stored it before. At most four marks are placed: on
the newest turn, which the next call will read; on the last stable turn, where the call before this one wrote, since a
provider looks back only some 20 blocks from a mark; on the system prompt and on the tools, which other conversations
read. The only turn of a row gets none, as no other call would read it. Marks that the caller has written stay where
they are and count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service

SHORT, LONG = "5m", "1h"
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching and
# https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, read 2026-11.
MOST_MARKS = 4
# A prefix with fewer bytes than this for each token of the provider's minimum is surely below it, and gets no mark. A
# mark below the minimum costs nothing but its place, so this is less than any text has.
_LEAST_BYTES_A_TOKEN = 2
# An image or a file counts as this many bytes at most, however large it is in base64.
_MOST_BYTES_OF_DATA = 8_192
_DATA_KEYS = frozenset(("data", "bytes", "url", "file_data", "image_url"))


class PromptCacheWish(NamedTuple):
    """What a call asks of the provider's prompt cache, and of whom."""

    lifetime: str  # SHORT or LONG
    provider: str
    wire: str
    model: str
    service: Service | None = None
    is_row: bool = (
        False  # The call is a row of a batch or a job, whose own part no other call repeats.
    )


class StoredHead(NamedTuple):
    """The head of a prompt that the provider can store under a name, and the addresses for that."""

    url: str  # of the stored prompts
    origin: str  # with the version: a name behind it is the address of one
    made_of: Fields  # what a new one needs beside its head and its lifetime
    head: Fields  # the fields of the request that it stands for
    lifetime_s: float

    def named_url(self, name: str) -> str:
        return f"{self.origin}/{name}"


class Section(NamedTuple):
    """Blocks that follow each other in the prompt: the tools, the system prompt, or one turn."""

    name: str  # "tools", "system", or the role of a turn
    blocks: list[Any]  # a copy, in which marks may be written
    place: str  # in sentences: "`tools`", "message 3"


class MarkWriter(NamedTuple):
    """How a wire writes marks."""

    lifetime_at: Callable[[Sequence[Any], int], str | None]  # of the mark on a block; None: no mark
    refusal: Callable[[Any], str | None]  # why a block can have no mark; None: it can
    write: Callable[[list[Any], int, str], None]


class _Spot(NamedTuple):
    """A block that may get a mark, by the places of its section and of itself."""

    at: tuple[int, int]
    size_bytes: int  # of the prompt up to its end


def place_marks(
    sections: Sequence[Section],
    writer: MarkWriter,
    wish: PromptCacheWish,
    *,
    least_tokens: int,
    automatic_marks: int = 0,
) -> None:
    """Write marks into the blocks of `sections`, which are all of the prompt, in its order.

    `automatic_marks` is how many the provider places itself, at the end. Raises `InvalidArgument` for marks of the
    caller's that the provider would refuse.
    """
    by_hand = _marks_by_hand(sections, writer, automatic_marks)
    free = MOST_MARKS - len(by_hand) - automatic_marks
    is_single = not any(section.name == "assistant" for section in sections)
    wants_newest = not automatic_marks and not (wish.is_row and is_single)
    spots = _spots(sections, writer, wants_newest=wants_newest)
    least_bytes = least_tokens * _LEAST_BYTES_A_TOKEN
    wanted = [spot for spot in spots if spot.at not in by_hand and spot.size_bytes >= least_bytes]
    for spot in wanted[:free]:
        section, block = spot.at
        lifetime = _lifetime_between(spot.at, by_hand, wish.lifetime)
        writer.write(sections[section].blocks, block, lifetime)


def _marks_by_hand(
    sections: Sequence[Section], writer: MarkWriter, automatic_marks: int
) -> dict[tuple[int, int], str]:
    """Return the lifetimes of the caller's marks by their places."""
    found: dict[tuple[int, int], str] = {}
    for number, section in enumerate(sections):
        for index, block in enumerate(section.blocks):
            lifetime = writer.lifetime_at(section.blocks, index)
            if lifetime is None:
                continue
            refusal = writer.refusal(block)
            if refusal is not None:
                raise InvalidArgument(
                    f"A cache mark in {section.place} is not allowed there: {refusal}."
                )
            if lifetime == LONG and SHORT in found.values():
                raise InvalidArgument(
                    f'A cache mark in {section.place} lasts "1h", but one before it lasts "5m": the provider requires '
                    "longer lifetimes first. Give the earlier mark `1h` too, or this one `5m`."
                )
            found[number, index] = lifetime
    if len(found) + automatic_marks > MOST_MARKS:
        raise InvalidArgument(
            f"The request has {len(found) + automatic_marks} cache marks, and the provider takes {MOST_MARKS}: remove "
            "some, or remove all and let `prompt_cache` place them."
        )
    return found


def _lifetime_between(at: tuple[int, int], by_hand: Mapping[tuple[int, int], str], own: str) -> str:
    """Return the lifetime of a mark that the caller's marks before and behind it allow."""
    for place, lifetime in by_hand.items():  # No longer one is behind a shorter one.
        must_be_long = place > at and lifetime == LONG
        must_be_short = place < at and lifetime == SHORT
        if must_be_long or must_be_short:
            return lifetime
    return own


def _spots(sections: Sequence[Section], writer: MarkWriter, *, wants_newest: bool) -> list[_Spot]:
    """Return the blocks to mark, the most useful one first: newest turn, system prompt, last stable turn, tools."""
    ends: dict[Any, _Spot] = {}  # by section
    size_bytes = 0
    for number, section in enumerate(sections):
        for index, block in enumerate(section.blocks):
            size_bytes += _size_bytes(block)
            if writer.refusal(block) is None:
                ends[number] = _Spot((number, index), size_bytes)
    turns = [n for n, section in enumerate(sections) if section.name in ("user", "tool")]
    newest = turns[-1:] if wants_newest else []
    stable = _stable_turn(sections, turns)
    first_turn = min(turns, default=len(sections))
    heads = {section.name: n for n, section in enumerate(sections[:first_turn])}
    wanted = [*newest, heads.get("system"), *stable, heads.get("tools")]
    return [ends[n] for n in wanted if n in ends]


def _stable_turn(sections: Sequence[Section], turns: Sequence[int]) -> list[int]:
    """Return the last turn of the user's before the newest answer: the newest one of the call before this."""
    if not turns:
        return []
    answers = [n for n in range(turns[-1]) if sections[n].name == "assistant"]
    if not answers:
        return []
    return [n for n in turns if n < answers[-1]][-1:]


def _size_bytes(value: Any) -> int:
    """Estimate how much of the prompt a value is."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        size = 0
        for key, part in value.items():
            most = _MOST_BYTES_OF_DATA if key in _DATA_KEYS else inf
            size += len(key) + int(min(_size_bytes(part), most))
        return size
    if isinstance(value, list | tuple):
        return sum(map(_size_bytes, value))
    if isinstance(value, bytes):
        return min(len(value), _MOST_BYTES_OF_DATA)
    return 4
