"""Describes how a request differs from the most similar one in a cassette. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.aliases import JSON
from modelwire.testing.cassettes.records import shortened

if TYPE_CHECKING:
    from modelwire.testing.cassettes.records import Request

# At most this many differences are listed.
_MAX_NAMED = 5
# At most this many characters of a value are shown.
_MAX_CHARS = 60


def how_it_differs(request: Request, recorded: Sequence[Request]) -> str:
    """Return sentences for an error message: the request, and its differences from the most similar recorded one."""
    this = f"It is {request.method} {request.url}"
    times = sum(other.sha256 == request.sha256 for other in recorded)
    if times:
        count = "once"
        if times != 1:
            count = f"{times} times"
        return f"{this}, which was recorded {count} and has been answered as often. {_WHAT_TO_DO}"
    if not recorded:
        return f"{this}; the cassette is empty. {_WHAT_TO_DO}"
    facts = _facts(request)
    others = list(map(_facts, recorded))
    names = [_different(facts, other) for other in others]
    sizes = list(map(len, names))
    nearest = sizes.index(min(sizes))
    other = others[nearest]
    differing = names[nearest]
    shown = [_difference(name, facts, other) for name in differing[:_MAX_NAMED]]
    unnamed = len(differing) - _MAX_NAMED
    if unnamed > 0:
        shown.append(f"and {unnamed} more")
    line = nearest + 2
    return (
        f"{this}. The nearest of {len(recorded)} recorded is on line {line}, and differs in: "
        f"{'; '.join(shown)}. {_WHAT_TO_DO}"
    )


_WHAT_TO_DO = (
    'Record it again (`pytest --modelwire-record=all`), or let it go out with `on_missing="call"`.'
)
_ABSENT = object()


def _facts(request: Request) -> JSON:
    return {"url": request.url, **dict(_leaves(request.body, ""))}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for each value in JSON that is not a list or an object, or is an empty one."""
    if isinstance(value, dict) and value:
        prefix = ""
        if path:
            prefix = f"{path}."
        for name, item in value.items():
            yield from _leaves(item, prefix + name)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _different(now: JSON, recorded: JSON) -> list[str]:
    """Return the names whose values differ."""
    found = []
    for name in dict.fromkeys([*now, *recorded]):
        # An older recording has only the hashes of long texts.
        new = shortened(now.get(name, _ABSENT))
        old = shortened(recorded.get(name, _ABSENT))
        if new != old:
            found.append(name)
    return found


def _difference(name: str, now: JSON, recorded: JSON) -> str:
    new = now.get(name, _ABSENT)
    old = recorded.get(name, _ABSENT)
    return f"`{name}`: recorded {_shown(old, new)}, now {_shown(new, old)}"


def _shown(value: Any, other: Any) -> str:
    """Return a value as text; a long text is cut to the characters around its first difference from `other`."""
    if value is _ABSENT:
        return "not there"
    if not isinstance(value, str) or len(value) <= _MAX_CHARS:
        return repr(value)
    differs_at = 0
    if isinstance(other, str):
        pairs = zip(value, other, strict=False)
        different = (at for at, (one, two) in enumerate(pairs) if one != two)
        differs_at = next(different, 0)
    latest_start = len(value) - _MAX_CHARS
    start = max(0, min(differs_at - 10, latest_start))
    end = start + _MAX_CHARS
    text = repr(value[start:end])
    if start > 0:
        text = f"…{text}"
    if end < len(value):
        text = f"{text}…"
    return text
