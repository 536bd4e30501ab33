"""Places cache marks in a request, by the same rules on all wires that have such marks. No I/O here.

A cache mark ends a prefix of the prompt that the provider stores, or reads if it is stored already. At most four marks
are placed: on the newest turn, which the next call will read; on the last turn before the newest answer, which the call
before this one stored, as a provider looks back only some 20 blocks from a mark; on the system prompt and on the tools,
which other conversations read. If a row of a batch or a job has one turn only, that turn gets no mark, because no other
call would read it. Marks that the caller has written stay, and count towards the four.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service

# The lifetimes of a stored prefix.
SHORT, LONG = "5m", "1h"
# The most cache marks that a provider accepts in a request:
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching and
# https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, read 2026-11.
MOST_MARKS = 4
# A provider stores no prefix below a minimum of tokens. A prefix with fewer bytes than this for each token of the
# minimum gets no mark. A useless mark costs only its place among the four, so the estimate is low.
_LEAST_BYTES_A_TOKEN = 2
# The estimate of a prompt's size counts an image or a file as this many bytes at most.
_MOST_BYTES_OF_DATA = 8_192
# The keys under which blocks have the data of an image or a file.
_DATA_KEYS = frozenset(("data", "bytes", "url", "file_data", "image_url"))


class PromptCacheWish(NamedTuple):
    """The `prompt_cache` setting of a call, and the model that the call goes to."""

    lifetime: str  # SHORT or LONG
    provider: str
    wire: str
    model: str
    service: Service | None = None
    # The call is a row of a batch or a job: no other call repeats the end of its prompt.
    is_row: bool = False


class StoredHead(NamedTuple):
    """The beginning of a prompt that the provider can store under a name, and the addresses for that."""

    # The address that creates and lists stored prompts.
    url: str
    # The API's address with its version; `named_url` appends the name of a stored prompt.
    origin: str
    # The fields that a request to store the head needs beside the head and the lifetime.
    made_of: Fields
    # The fields of the chat request that the stored prompt replaces.
    head: Fields
    lifetime_s: float

    def named_url(self, name: str) -> str:
        """Return the address of the stored prompt with this name."""
        return f"{self.origin}/{name}"


class Section(NamedTuple):
    """Blocks that follow each other in the prompt: the tools, the system prompt, or one turn."""

    name: str  # "tools", "system", or the role of a turn
    blocks: list[Any]  # a copy, into which marks may be written
    place: str  # the section's name in errors: "`tools`", "message 3"


class MarkWriter(NamedTuple):
    """The functions with which a wire reads and writes cache marks."""

    # Returns the lifetime of the mark on the block at this index; None: the block has no mark.
    lifetime_at: Callable[[Sequence[Any], int], str | None]
    # Returns why a block can have no mark; None: it can have one.
    refusal: Callable[[Any], str | None]
    # Writes a mark with this lifetime on the block at this index.
    write: Callable[[list[Any], int, str], None]


class _Spot(NamedTuple):
    """A block that may get a cache mark."""

    at: tuple[int, int]  # the index of its section, and its index in the section
    size_bytes: int  # the estimated size of the prompt up to the end of the block


def place_marks(
    sections: Sequence[Section],
    writer: MarkWriter,
    wish: PromptCacheWish,
    *,
    least_tokens: int,
    automatic_marks: int = 0,
) -> None:
    """Write cache marks into the blocks of `sections`, which are the whole prompt in its order.

    `least_tokens` is the length of the shortest prefix that the provider stores. `automatic_marks` is the number of
    marks that the provider itself places, at the end. Raises `InvalidArgument` for marks of the caller that the
    provider would reject.
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
    """Return the lifetimes of the caller's cache marks by section and index.

    Raises `InvalidArgument` for a mark that the provider would reject.
    """
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
    """Return the lifetime for a cache mark: `own`, unless the caller's marks before or behind it require another one.

    A provider requires that no mark is followed by one with a longer lifetime.
    """
    for place, lifetime in by_hand.items():
        must_be_long = place > at and lifetime == LONG
        must_be_short = place < at and lifetime == SHORT
        if must_be_long or must_be_short:
            return lifetime
    return own


def _spots(sections: Sequence[Section], writer: MarkWriter, *, wants_newest: bool) -> list[_Spot]:
    """Return the blocks for cache marks, the most useful first: newest turn, system prompt, last stable turn, tools."""
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
    """Return the number of the last turn before the newest answer, in a list that is empty if there is none."""
    if not turns:
        return []
    answers = [n for n in range(turns[-1]) if sections[n].name == "assistant"]
    if not answers:
        return []
    return [n for n in turns if n < answers[-1]][-1:]


def _size_bytes(value: Any) -> int:
    """Return an estimate of the bytes that a value adds to the prompt."""
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
