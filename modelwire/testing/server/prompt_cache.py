"""The server's prompt cache: it stores the prefixes of earlier prompts, with a minimum size and a lifetime. No I/O.

On Anthropic's and Bedrock's wires a request marks blocks (`cache_control`, `cachePoint`): the prompt up to a mark is
cached, and a prefix that ends up to 20 blocks before a mark is found, too. On OpenAI's and Gemini's wires every long
prompt is cached: its beginning in steps of 128 tokens, and by GPT-5.6 and later also the whole request. Other requests
find a prefix as soon as the answer to the request that wrote it has begun.
Sources, read 2026-11:
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
https://developers.openai.com/api/docs/guides/prompt-caching
https://ai.google.dev/gemini-api/docs/caching
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from modelwire.aliases import JSON
from modelwire.testing.server.stored_prompts import BYTES_A_TOKEN, NOT_THERE, StoredPrompts

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest

# (section, block): a part of a prompt, and the section that it is in, such as "system".
_Block = tuple[str, Any]

# A request with more marks is rejected.
_MOST_MARKS = 4
# A prefix is found if it ends at most this many blocks before a mark.
_BLOCKS_LOOKED_BACK = 20
# GPT-5.6 and later find a prefix that ends at most this many messages before a breakpoint.
_BREAKPOINTS_LOOKED_BACK = 80
_LIFETIMES_S = {"5m": 300.0, "1h": 3600.0, "30m": 1800.0, "24h": 86_400.0}
# OpenAI's and Gemini's caches find prefixes in steps of this many tokens.
_STEP_TOKENS = 128
# A prefix with fewer tokens is not cached. The first row is used whose name is in the model's name.
MINIMUMS = (
    ("opus-5", 512),
    ("fable-5", 512),
    ("mythos-5", 512),
    ("haiku-4-5", 4096),
    ("opus-4-5", 4096),
    ("opus-4-6", 4096),
    ("opus-4-7", 2048),
    ("3-haiku", 2048),
    ("3-5-haiku", 2048),
    ("nova", 1000),
    ("gemini-2.5-pro", 4096),
    ("gemini-3-pro", 4096),
)
_USUAL_MINIMUM = 1024
_BREAKPOINT_MODELS = ("gpt-5.6", "gpt-6")
# The cache holds at most this many prefixes, and drops the oldest.
_MOST_PREFIXES = 20_000
# These fields of a request are not part of the prompt.
_FIELDS = ("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
_MARK_KEYS = ("cache_control", "cachePoint")
_PARTS_BEFORE_TURNS = ("tools", "systemInstruction", "instructions")
# After a change of one of these fields the cached conversation is not found, but the tools and system prompt are.
_SETTINGS_OF_TURNS = ("tool_choice", "thinking", "toolChoice")


class Refused(NamedTuple):
    """Why the provider rejects the marks of a request, or the stored prompt that it names."""

    message: str
    status: int = 400


class _Place(NamedTuple):
    """A prefix that can be read or written: its digest and its tokens."""

    digest: bytes
    tokens: int
    lifetime: str | None = (
        None  # The lifetime in the mark that ends the prefix; None without a mark.
    )


@dataclass(slots=True)
class Cached:
    """How many tokens of a request were read from the cache and written to it."""

    read: int = 0
    written: dict[str, int] = field(default_factory=dict)  # Tokens by lifetime, such as "5m".
    stored_tokens: int = 0  # The tokens of the stored prompt that the request names.
    mark_bytes: int = 0  # The bytes of the marks, which are not part of the prompt.
    tells_writes: bool = True  # Whether the usage in the answer has the written tokens.
    # These prefixes are stored when the answer begins.
    places: list[_Place] = field(default_factory=list)

    @property
    def all_written(self) -> int:
        return sum(self.written.values())


class PromptCache:
    """Stores prefixes of prompts for each credential and model."""

    def __init__(self) -> None:
        self.stored = StoredPrompts()
        # A prefix is found by its digest, from the first of its two times (in seconds) until the second one.
        self._prefixes: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def look_up(self, wire: str, request: SeenRequest, now_s: float) -> Cached | Refused:
        """Return the tokens that a request reads and the prefixes that it will write, or why it is rejected."""
        body = request.fields
        scope = f"{request.key_hash} {request.model}".encode()
        minimums = (least for name, least in MINIMUMS if name in request.model)
        least = next(minimums, _USUAL_MINIMUM)
        if wire in ("anthropic", "bedrock"):
            return self._by_marks(_blocks(body), body, scope, least, now_s)
        if "cachedContent" in body:
            return self._by_name(str(body["cachedContent"]), request, now_s)
        own_bytes = 0
        for name in _FIELDS:
            if name in body:
                own_bytes += len(to_json({name: body[name]}))
        if len(request.content) < least * BYTES_A_TOKEN:
            return Cached(mark_bytes=own_bytes)
        lifetime = str(body.get("prompt_cache_retention", "5m"))
        if request.model.startswith(_BREAKPOINT_MODELS):
            places = _places(_messages(body), body, scope, "30m")
            marks = _breakpoints(body)
            cached = self._read(places, marks, _BREAKPOINTS_LOOKED_BACK, least, now_s)
        else:
            cached = self._by_steps(body, scope, least, lifetime, now_s)
        cached.mark_bytes = own_bytes
        return cached

    def store(self, cached: Cached, ready_s: float) -> None:
        """Store the prefixes that a request writes. Later requests find them from `ready_s` on."""
        for place in cached.places:
            digest = place.digest
            lifetime_s = _LIFETIMES_S.get(place.lifetime or "5m", _LIFETIMES_S["5m"])
            known_from, ends_s = self._prefixes.pop(digest, (ready_s, 0.0))
            if ends_s < ready_s:
                known_from = ready_s  # The earlier entry has expired.
            known_from = min(known_from, ready_s)
            ends_s = max(ends_s, ready_s + lifetime_s)
            self._prefixes[digest] = known_from, ends_s
        while len(self._prefixes) > _MOST_PREFIXES:
            self._prefixes.popitem(last=False)

    def _by_name(self, name: str, request: SeenRequest, now_s: float) -> Cached | Refused:
        stored = self.stored.find(name, request.key_hash, now_s)
        if stored is None or stored.model != request.model:
            return Refused(NOT_THERE, 403)
        return Cached(read=stored.tokens, stored_tokens=stored.tokens, tells_writes=False)

    def _is_there(self, place: _Place, now_s: float) -> bool:
        ready_s, ends_s = self._prefixes.get(place.digest, (0.0, -1.0))
        return ready_s <= now_s <= ends_s

    def _by_marks(
        self,
        blocks: list[_Block],
        body: JSON,
        scope: bytes,
        least: int,
        now_s: float,
    ) -> Cached | Refused:
        unmarked, lifetimes, mark_bytes = _without_marks(blocks)
        mark = body.get("cache_control")
        if isinstance(mark, Mapping) and unmarked:
            last = len(unmarked) - 1
            lifetimes.setdefault(last, mark.get("ttl", "5m"))
        refused = _refusal(unmarked, lifetimes)
        if refused is not None:
            return refused
        places = _places(unmarked, body, scope)
        for at, lifetime in lifetimes.items():
            places[at] = places[at]._replace(lifetime=lifetime)
        cached = self._read(places, sorted(lifetimes), _BLOCKS_LOOKED_BACK, least, now_s)
        cached.mark_bytes = mark_bytes
        return cached

    def _read(
        self, places: Sequence[_Place], marks: Sequence[int], back: int, least: int, now_s: float
    ) -> Cached:
        """Return the tokens of the longest prefix found from a mark, and the longer prefixes that the marks write."""
        cached = Cached()
        hit = -1
        for mark in marks:
            before_first = max(mark - back, hit, -1)
            for at in range(mark, before_first, -1):
                if self._is_there(places[at], now_s):
                    hit = at
                    break
        if hit >= 0:
            cached.read = places[hit].tokens
        before = cached.read
        for mark in marks:
            place = places[mark]
            if place.tokens < least:
                continue
            if place.tokens > before:
                lifetime = place.lifetime or "5m"
                written = cached.written.get(lifetime, 0)
                cached.written[lifetime] = written + place.tokens - before
                before = place.tokens
            cached.places.append(place)
        if hit >= 0 and places[hit] not in cached.places:
            cached.places.append(places[hit])  # Reading a prefix extends its lifetime.
        return cached

    def _by_steps(
        self, body: JSON, scope: bytes, least: int, lifetime: str, now_s: float
    ) -> Cached:
        """Return the tokens of the longest prefix, in whole steps, that an earlier request has written."""
        prompt = b"".join(to_json(part) for part in _messages(body))
        step_bytes = _STEP_TOKENS * BYTES_A_TOKEN
        cached = Cached(tells_writes=False)
        digest = blake2b(scope, digest_size=16)
        is_hit = True
        for end in range(step_bytes, len(prompt) + 1, step_bytes):
            digest.update(prompt[end - step_bytes : end])
            place = _Place(digest.digest(), end // BYTES_A_TOKEN, lifetime)
            is_hit = is_hit and self._is_there(place, now_s)
            is_long = place.tokens >= least
            if is_hit and is_long:
                cached.read = place.tokens
            cached.places.append(place)
        return cached


def _messages(body: JSON) -> list[_Block]:
    """Return the parts of a request to OpenAI or Gemini, in the order of the prompt."""
    parts = [(name, body[name]) for name in _PARTS_BEFORE_TURNS if name in body]
    turns = body.get("messages", body.get("input", body.get("contents"))) or []
    if not isinstance(turns, list):
        turns = [turns]
    parts += [("turn", turn) for turn in turns]
    return parts


def _breakpoints(body: JSON) -> list[int]:
    """Return the indices of the parts with a breakpoint: in the request, and the one that OpenAI adds at its end."""
    parts = _messages(body)
    found = []
    for index, part in enumerate(parts):
        if b'"prompt_cache_breakpoint"' in to_json(part):
            found.append(index)
    options = body.get("prompt_cache_options")
    if not isinstance(options, Mapping) or options.get("mode") != "explicit":
        found = [*found[1 - _MOST_MARKS :], len(parts) - 1]
    return found[-_MOST_MARKS:]


def _blocks(body: JSON) -> list[_Block]:
    """Return the blocks of a request to Anthropic or Bedrock, in the order of the prompt, with their sections."""
    config = body.get("toolConfig")
    tools = body.get("tools")
    if isinstance(config, Mapping):
        tools = config.get("tools")
    system = _content(body.get("system"))
    sections = [("tools", tools or ()), ("system", system)]
    for turn in body.get("messages") or ():
        role = str(turn.get("role"))
        sections.append((role, _content(turn.get("content"))))
    return [(section, block) for section, blocks in sections for block in blocks]


def _content(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or ())


def _without_marks(
    blocks: Sequence[_Block],
) -> tuple[list[_Block], dict[int, str], int]:
    """Return the blocks without marks, the lifetime of each mark by the index of its block, and the marks' bytes."""
    unmarked: list[_Block] = []
    lifetimes: dict[int, str] = {}
    size = 0
    for section, block in blocks:
        if "cachePoint" not in block:
            rest = dict(block)
            rest.pop("cache_control", None)
            unmarked.append((section, rest))
        for key in _MARK_KEYS:
            if key in block:
                mark = block[key]
                size += len(to_json(mark)) + 18
                last = len(unmarked) - 1
                lifetimes[last] = str(mark.get("ttl", "5m"))
    return unmarked, lifetimes, size


def _refusal(blocks: Sequence[_Block], lifetimes: Mapping[int, str]) -> Refused | None:
    """Return why the provider rejects the marks, or None. The texts are Anthropic's, from public issues, 2026-11."""
    if len(lifetimes) > _MOST_MARKS:
        return Refused(
            f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {len(lifetimes)}."
        )
    is_short = False
    for at in sorted(lifetimes):
        block: Any = {"type": "nothing"}
        if at >= 0:
            _, block = blocks[at]
        kind = block.get("type")
        if kind in ("thinking", "redacted_thinking", "nothing"):
            return Refused(f"cache_control cannot be set for {kind} blocks")
        if kind == "text" and not block.get("text"):
            return Refused("cache_control cannot be set for empty text blocks")
        if lifetimes[at] == "1h" and is_short:
            return Refused(
                "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
            )
        is_short = is_short or lifetimes[at] == "5m"
    return None


def _places(
    blocks: Sequence[_Block],
    body: JSON,
    scope: bytes,
    lifetime: str | None = None,
) -> list[_Place]:
    """Return one prefix for each block: the prompt up to the end of that block."""
    places: list[_Place] = []
    digest = blake2b(scope, digest_size=16)
    size = 0
    settings = to_json(list(_settings(body)))
    is_in_turns = False
    for section, block in blocks:
        if not is_in_turns and section not in ("tools", "system"):
            digest.update(settings)
            is_in_turns = True
        data = to_json(block)
        digest.update(section.encode() + b"\0" + data)
        size += len(data)
        places.append(_Place(digest.digest(), size // BYTES_A_TOKEN, lifetime))
    return places


def _settings(body: JSON) -> Iterator[Any]:
    for name in _SETTINGS_OF_TURNS:
        yield body.get(name)
    config = body.get("toolConfig")
    choice = None
    if isinstance(config, Mapping):
        choice = config.get("toolChoice")
    yield choice
