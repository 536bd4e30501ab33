"""Compares a prompt with the earlier ones, by digests, and finds its first difference. No I/O but the log.

A text is stored as a digest of each 16 characters (Python's `hash`, whose key differs in each process), so a difference
is located to within 16 characters. The excerpt in a message is taken from the new prompt.
"""

from __future__ import annotations

import logging
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from operator import eq
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from modelwire.adapters.wires.json import mask_secrets
from modelwire.aliases import Fields
from modelwire.prompt_caches import BREAKS, MOST_BREAKS, WATCHING, CacheBreak

if TYPE_CHECKING:
    from modelwire.messages import BaseMessage
    from modelwire.transport.wire import WireRequest

_logger = logging.getLogger("modelwire")

# At most this many prompts are stored; the oldest ones are dropped.
MOST_PROMPTS = 32
# A text has one digest for each block of this many characters.
_CHARS_A_DIGEST = 16
# A text has at most this many digests: a difference after its first 65,536 characters is found, but not located.
_MOST_DIGESTS = 4_096
# The excerpt of a break shows this many characters on each side of the difference.
_CHARS_SHOWN = 40
# Two system prompts are compared by the digests of their first words, of this many.
_MOST_WORDS = 256
# Two system prompts are versions of one if they share this part of their words.
_SHARED_WORDS = 0.5
# Two calls belong to one conversation if the later one has this part of the earlier one's messages.
_SHARED_MESSAGES = 0.5
# Blocks of fewer characters are ignored when two messages are compared: they may be equal by chance.
_LEAST_SHARED_CHARS = 20
# Breaks at this many places are logged; further ones are only recorded for `watch()`.
_MOST_LOGGED = 256

_SYSTEM = ("system", "developer")
# The fields of a body that are not parameters, or do not change the prompt that a provider caches.
_OTHER_FIELDS = (
    "messages input contents instructions system systemInstruction tools model stream stream_options metadata user "
    "max_tokens max_completion_tokens max_output_tokens maxTokens maxOutputTokens safety_identifier service_tier "
    "serviceTier store cache_control cachedContent prompt_cache_key prompt_cache_retention prompt_cache_options labels "
    "requestMetadata previous_response_id container"
)
_NO_PARAMETERS = frozenset(_OTHER_FIELDS.split())
_MARKS = ("cache_control", "cachePoint", "cache_point", "index")
_ABOUT_TIMES = ". A time or a date in a system prompt makes each call a new prompt: put it into the newest message"
_TIME = re.compile(r"\d{1,2}:\d\d(:\d\d)?|\d{4}-\d\d-\d\d|\b1[5-9]\d{8}\b")


class _Part(NamedTuple):
    """The digests of a message or a tool."""

    name: int  # The digest of the message's role, or of the tool's name.
    whole: int
    blocks: frozenset[int]
    chunks: array[int]


class _Prompt(NamedTuple):
    """The digests of one call."""

    of: tuple[str, str]  # The wire and the model.
    parameters: Mapping[str, int]
    tools: tuple[_Part, ...]
    messages: tuple[_Part, ...]
    head: int  # The number of system messages at the beginning.
    words: frozenset[int]  # The digests of the words of these messages.


_Blocks = list[tuple[str, str]]  # the kind and the text of each block
_Named = tuple[str, _Blocks]  # the role of a message, or the name of a tool, and its blocks


class Texts(NamedTuple):
    """The texts of the call that is compared. They are not stored."""

    parameters: Mapping[str, str]
    tools: Sequence[_Named]
    messages: Sequence[_Named]


class PromptMemory:
    """Stores the digests of the latest prompts, and compares each call with them."""

    def __init__(self) -> None:
        self._prompts: list[_Prompt] = []
        self._logged: set[tuple[Any, ...]] = set()
        self._lock = Lock()

    def note(
        self, model: str, messages: Sequence[BaseMessage], body: Fields, wire: str = ""
    ) -> None:
        """Compare a call with those before it, and report where it breaks the prompt cache."""
        texts = Texts(
            dict(_parameters(body)), list(_tools(body)), [_message(one) for one in messages]
        )
        with self._lock:
            prompt = self._digested((wire, model), texts)
            found = self._compared(prompt, texts)
            self._remember(prompt)
        if found is not None:
            self._report(found)

    def _digested(self, of: tuple[str, str], texts: Texts) -> _Prompt:
        known = {part.whole: part for part in self._all_parts()}
        head = list(takewhile(lambda message: message[0] in _SYSTEM, texts.messages))
        words = " ".join(_joined(blocks) for _, blocks in head).split()
        return _Prompt(
            of,
            {name: hash(text) for name, text in texts.parameters.items()},
            tuple(self._part(*tool, known) for tool in texts.tools),
            tuple(self._part(*message, known) for message in texts.messages),
            len(head),
            frozenset(map(hash, words[:_MOST_WORDS])),
        )

    def _all_parts(self) -> Iterator[_Part]:
        for prompt in self._prompts:
            yield from prompt.tools
            yield from prompt.messages

    @staticmethod
    def _part(name: str, blocks: _Blocks, known: Mapping[int, _Part]) -> _Part:
        whole = hash((name, *blocks))
        if whole in known:
            return known[whole]
        long = [block for block in blocks if len(block[1]) >= _LEAST_SHARED_CHARS]
        text = _joined(blocks)[: _CHARS_A_DIGEST * _MOST_DIGESTS]
        chunks = array(
            "q",
            (hash(text[at : at + _CHARS_A_DIGEST]) for at in range(0, len(text), _CHARS_A_DIGEST)),
        )
        return _Part(hash(name), whole, frozenset(map(hash, long)), chunks)

    def _remember(self, prompt: _Prompt) -> None:
        """Store a prompt, in place of one that it continues."""
        self._prompts = [one for one in self._prompts if not _continues(prompt, one)]
        self._prompts.append(prompt)
        del self._prompts[:-MOST_PROMPTS]

    def _compared(self, prompt: _Prompt, texts: Texts) -> CacheBreak | None:
        """Return the cache break, as the difference from the most similar earlier prompt.

        The result is None if the prompt continues an earlier one, or no earlier one is similar.
        """
        others = [earlier for earlier in reversed(self._prompts) if earlier.of == prompt.of]
        if any(_continues(prompt, one) or _continues(one, prompt) for one in others):
            return None
        others.sort(key=lambda earlier: -_shared_messages(earlier, prompt))
        for earlier in others:
            if _is_related(earlier, prompt):
                return _first_difference(earlier, prompt, texts)
        return None

    def _report(self, found: CacheBreak) -> None:
        for breaks in BREAKS.get():
            if len(breaks) < MOST_BREAKS:
                breaks.append(found)
        place = found[:5]
        if place not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(place)
            _logger.warning("%s", found.message)


# Calls with `prompt_cache` outside of a `watch()` block are compared with each other.
OF_PROCESS = PromptMemory()


def note(request: WireRequest, messages: Sequence[BaseMessage], wire: str) -> None:
    """Compare a call with those before it in its `watch()` block, or in this process."""
    memory = (OF_PROCESS, *WATCHING.get())[-1]
    memory.note(f"{request.model}", messages, request.body, wire)


def _wholes(parts: Sequence[_Part]) -> tuple[int, ...]:
    return tuple(part.whole for part in parts)


def _continues(later: _Prompt, earlier: _Prompt) -> bool:
    """Return whether a prompt begins with all of an earlier one."""
    return (
        later.of == earlier.of
        and later.parameters == earlier.parameters
        and _wholes(later.tools) == _wholes(earlier.tools)
        and _wholes(later.messages[: len(earlier.messages)]) == _wholes(earlier.messages)
    )


def _common(one: Iterable[int], other: Iterable[int]) -> int:
    """Return how many digests at the beginning of both sequences are equal."""
    are_equal = map(eq, one, other)
    return len(list(takewhile(bool, are_equal)))


def _shared_messages(earlier: _Prompt, later: _Prompt) -> int:
    """Return how many messages at the beginning of both prompts are equal."""
    return _common(_wholes(earlier.messages), _wholes(later.messages))


def _is_related(earlier: _Prompt, later: _Prompt) -> bool:
    """Return whether two prompts differ by less than a new conversation, or another program, would."""
    is_same_head = _head(earlier) == _head(later)
    are_versions = is_same_head or _are_versions(earlier, later)
    if not are_versions or not _share_tools(earlier.tools, later.tools):
        return False
    before = earlier.messages[earlier.head :]
    now = later.messages[later.head :]
    common = len(set(_wholes(before)) & set(_wholes(now)))
    if before and common >= _SHARED_MESSAGES * len(before):
        return True
    if before and len(now) > len(before) and before[0].blocks & now[0].blocks:
        return True
    # Another conversation of the same program reads its tools and its system prompt from the cache.
    is_same_program = is_same_head and _wholes(earlier.tools) == _wholes(later.tools)
    return later.head > 0 and not is_same_program


def _head(prompt: _Prompt) -> tuple[int, ...]:
    return _wholes(prompt.messages[: prompt.head])


def _are_versions(earlier: _Prompt, later: _Prompt) -> bool:
    """Return whether two system prompts are equal, or share enough words to be versions of one prompt."""
    every = earlier.words | later.words
    return not every or len(earlier.words & later.words) >= _SHARED_WORDS * len(every)


def _share_tools(earlier: Sequence[_Part], later: Sequence[_Part]) -> bool:
    common = {tool.name for tool in earlier} & {tool.name for tool in later}
    return 2 * len(common) >= max(len(earlier), len(later))


def _first_difference(earlier: _Prompt, later: _Prompt, texts: Texts) -> CacheBreak | None:
    """Return the first difference in the order in which a provider reads a prompt: tools, messages, parameters."""
    if _wholes(earlier.tools) != _wholes(later.tools):
        at, words, excerpt, change = _difference(earlier.tools, later.tools, texts.tools)
        name = texts.tools[at][0] if at < len(texts.tools) else ""
        named = f"tool {at}" + (f" (`{name}`)" if name else "")
        return _break(later.of[1], "tool", at, name, change, excerpt, f"{named} was {words}")
    at = _shared_messages(earlier, later)
    if at < min(len(earlier.messages), len(later.messages)):
        if at >= max(later.head, len(later.messages) - 1):
            return None  # Only the question at the end differs, so the cache is used up to it.
        _, words, excerpt, change = _difference(earlier.messages, later.messages, texts.messages)
        role = texts.messages[at][0]
        sentence = f"message {at} ({role}) was {words}"
        if at < later.head and _TIME.search(excerpt):
            sentence += _ABOUT_TIMES
        return _break(later.of[1], "message", at, role, change, excerpt, sentence)
    return _changed_parameter(earlier, later, texts)


def _changed_parameter(earlier: _Prompt, later: _Prompt, texts: Texts) -> CacheBreak | None:
    for name in (*later.parameters, *earlier.parameters):
        if earlier.parameters.get(name) != later.parameters.get(name):
            value = texts.parameters.get(name, "")[: 2 * _CHARS_SHOWN]
            words = f"changed: {value}" if value else "removed"
            change = words.partition(":")[0]
            sentence = f"the parameter `{name}` was {words}"
            return _break(later.of[1], "parameter", None, name, change, value, sentence)
    return None


def _difference(
    earlier: Sequence[_Part], later: Sequence[_Part], texts: Sequence[_Named]
) -> tuple[int, str, str, str]:
    """Return the index of the first part that differs, the change in words, an excerpt, and the change in one word."""
    before = _wholes(earlier)
    now = _wholes(later)
    at = _common(before, now)
    if sorted(before) == sorted(now):
        return at, "moved here, and others have moved too", "", "moved"
    if at >= len(now):
        return at, "removed", "", "removed"
    blocks = texts[at][1]
    is_new = now[at] not in before
    if at >= len(before) or (is_new and before[at] in now[at:]):
        return at, "added", _joined(blocks)[: 2 * _CHARS_SHOWN], "added"
    if not is_new:
        return at, "preceded by another one, which was removed", "", "removed"
    # The character near which the two parts begin to differ.
    start = _CHARS_A_DIGEST * _common(earlier[at].chunks, later[at].chunks)
    excerpt = _joined(blocks)[max(0, start - _CHARS_SHOWN) : start + _CHARS_A_DIGEST + _CHARS_SHOWN]
    kind = _kind_at(blocks, start)
    where = f"near character {start}" + (f" (`{kind}`)" if kind != "text" else "")
    return at, f"changed {where}: {excerpt!r}", excerpt, "changed"


def _break(
    model: str, part: str, place: int | None, name: str, change: str, excerpt: str, sentence: str
) -> CacheBreak:
    message = f"The prompt cache of `{model}` is broken: {sentence}."
    return CacheBreak(
        model, part, place, name, change, mask_secrets(excerpt), mask_secrets(message)
    )


def _joined(blocks: _Blocks) -> str:
    return "\n".join(text for _, text in blocks)


def _kind_at(blocks: list[tuple[str, str]], at: int) -> str:
    for kind, text in blocks:
        if at <= len(text):
            return kind
        at -= len(text) + 1
    return "text"


def _message(message: BaseMessage) -> _Named:
    """Return the role of a message, and the kind and the text of each of its blocks."""
    content: Any = message.content
    blocks = []
    for block in [content] if isinstance(content, str) else content:
        if isinstance(block, str):
            blocks.append(("text", block))
        elif block.get("type", "text") == "text" and isinstance(block.get("text"), str):
            blocks.append(("text", block["text"]))
        elif not any(mark in block for mark in ("cachePoint", "cache_point")):
            blocks.append((str(block.get("type")), _json(block)))
    beside = {name: getattr(message, name, None) for name in ("tool_calls", "tool_call_id")}
    blocks += [(name, _json(value)) for name, value in beside.items() if value]
    return message.type, blocks


def _json(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {key: part for key, part in value.items() if key not in _MARKS}
    return to_json(value, fallback=str).decode(errors="replace")


def _tools(body: Fields) -> Iterator[_Named]:
    """Yield the name and the text of each tool in a request, whatever the wire."""
    config = body.get("toolConfig")
    tools = body.get("tools") or (config.get("tools") if isinstance(config, Mapping) else None)
    for tool in tools or ():
        if not isinstance(tool, Mapping) or "cachePoint" in tool:
            continue
        for one in tool.get("functionDeclarations") or (tool,):
            named = one.get("function") or one.get("toolSpec") or one
            name = named.get("name") or one.get("type") or next(iter(one), "")
            yield str(name), [("text", _json(one))]


def _parameters(body: Fields) -> Iterator[tuple[str, str]]:
    """Yield the parameters in a request that may matter to the cache; settings in a config count one by one."""
    for field, value in body.items():
        is_config = field.endswith("Config") and isinstance(value, Mapping)
        settings = value if is_config else {field: value}
        for name, setting in settings.items():
            if name not in _NO_PARAMETERS:
                yield name, _json(setting)
