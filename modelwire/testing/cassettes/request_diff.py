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
    """Return sentences that describe the request, and how the most similar recorded one differs from it."""
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
    others = [_facts(other) for other in recorded]
    names = [_different(facts, other) for other in others]
    nearest = min(range(len(names)), key=lambda place: len(names[place]))
    differing = names[nearest]
    shown = [_difference(name, facts, others[nearest]) for name in differing[:_MAX_NAMED]]
    if len(differing) > _MAX_NAMED:
        shown.append(f"and {len(differing) - _MAX_NAMED} more")
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
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _different(now: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    names = dict.fromkeys([*now, *recorded])
    # An older recording has only the hashes of long texts.
    return [
        name
        for name in names
        if shortened(now.get(name, _ABSENT)) != shortened(recorded.get(name, _ABSENT))
    ]


def _difference(name: str, now: dict[str, Any], recorded: dict[str, Any]) -> str:
    new = now.get(name, _ABSENT)
    old = recorded.get(name, _ABSENT)
    return f"`{name}`: recorded {_shown(old, new)}, now {_shown(new, old)}"


def _shown(value: Any, other: Any) -> str:
    """Return a value as text; of a long text only the part from the first difference on."""
    if value is _ABSENT:
        return "not there"
    if not isinstance(value, str) or len(value) <= _MAX_CHARS:
        return repr(value)
    text = ""
    if isinstance(other, str):
        text = other
    pairs = enumerate(zip(value, text, strict=False))
    same = next((at for at, (one, two) in pairs if one != two), 0)
    start = max(0, min(same - 10, len(value) - _MAX_CHARS))
    end = start + _MAX_CHARS
    before = "…" * (start > 0)
    after = "…" * (end < len(value))
    return f"{before}{value[start:end]!r}{after}"
