"""Adds up deltas: texts, dicts, lists and message content. Pure; linear in the number of deltas.

Every function takes any number of operands and returns their sum from left to right, without
building the sums in between: texts are joined once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelwire.errors import InvalidArgument, InvalidType

__all__ = ["merge_content", "merge_dicts", "merge_lists", "merge_obj"]

# These texts are names, not parts of a text: an equal one is not repeated.
_NAMES = frozenset({"id", "output_version", "model_provider"})
# Of these numbers the last one is kept, because a sum would mean nothing.
_POSITIONS = frozenset({"index", "created", "timestamp", "resumed_at"})
# This is the prefix of generated block indices, for wires without indices.
_OUR_INDEX = "lc_"

Content = str | list[str | dict[Any, Any]]


def merge_dicts(left: Mapping[Any, Any], *others: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the sum of dicts of deltas key by key; no operand is changed.

    Texts are concatenated (equal `id`, `output_version`, `model_provider` are not repeated), dicts
    and lists merged, different integers added (of `index`, `created`, `timestamp`, `resumed_at` the
    last is kept); `None` adds nothing. Raises `InvalidType` for values that cannot be added.
    """
    columns: dict[Any, list[Any]] = {key: [value] for key, value in left.items()}
    for other in others:
        for key, value in other.items():
            column = columns.get(key)
            if column is None:
                columns[key] = [value]
            elif value is not None:
                column.append(value)
    return {
        key: column[0] if len(column) == 1 else _merge_column(key, column)
        for key, column in columns.items()
    }


def _merge_column(key: Any, values: list[Any]) -> Any:
    """Return the sum of two or more values of one key; only the first may be None."""
    if values[0] is None:
        values = values[1:]
    first = values[0]
    if isinstance(first, str):
        _check_kind(key, first, values, str)
        return _merge_texts(key, values)
    if isinstance(first, dict):
        _check_kind(key, first, values, dict)
        return merge_dicts(*values)
    if isinstance(first, list):
        _check_kind(key, first, values, list)
        return merge_lists(*values)
    _check_kind(key, first, values, type(first))
    return _merge_numbers(key, values)


def _check_kind(key: Any, first: Any, values: Sequence[Any], kind: type) -> None:
    for value in values:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidType(
                f"Cannot add deltas: key `{key}` already exists with a different type, "
                f"`{type(first).__name__}`, not `{type(value).__name__}`."
            )


def _merge_texts(key: Any, values: list[str]) -> str:
    if key == "index" and values[0].startswith(_OUR_INDEX):
        return values[0]
    if key not in _NAMES:
        return "".join(values)
    merged = values[0]
    for value in values[1:]:
        if value != merged:
            merged += value
    return merged


def _merge_numbers(key: Any, values: list[Any]) -> Any:
    merged = values[0]
    if type(merged) is int:
        if key in _POSITIONS:
            return values[-1]
        for value in values[1:]:
            if value != merged:
                merged += value
        return merged
    for value in values[1:]:
        if value != merged:
            raise InvalidType(
                f"Cannot add deltas: key `{key}` already exists and its value has the unsupported type "
                f"`{type(merged).__name__}` (only str, int, list and dict add up)."
            )
    return merged


class _ListSum:
    """The sum of lists so far: each element with the deltas that will be merged into it.

    Two dicts are one element if their `index` is the same integer (or generated index) and their
    ids do not differ; a delta without an id belongs to the latest element of its index. Elements
    whose index is None are never merged.
    """

    __slots__ = ("groups", "indexed")

    def __init__(self, items: Iterable[Any]) -> None:
        self.groups: list[list[Any]] = []
        # This maps an index to the ids and their groups of deltas, the latest one last.
        self.indexed: dict[int | str | None, dict[str | None, list[Any]]] = {}
        for item in items:
            self._begin(item, _index_of(item))

    def add(self, items: Iterable[Any]) -> None:
        for item in items:
            index = _index_of(item)
            known = self.indexed.get(index)
            if known is None:
                self._begin(item, index)
                continue
            identity = item.get("id")
            if not identity or not isinstance(identity, str):
                known[next(reversed(known))].append(item)
            elif identity in known:
                known[identity].append(item)
            elif next(reversed(known)) is None:
                # The latest element has no id yet, so this id is its own.
                known[identity] = known.pop(None)
                known[identity].append(item)
            else:
                self._begin(item, index)

    def add_text(self, text: str) -> None:
        if self.groups and isinstance(self.groups[-1][0], str):
            self.groups[-1].append(text)
        elif text:
            self.groups.append([text])

    def add_blocks(self, items: list[Any]) -> None:
        """Add a piece of content. A text before it is prepended to its first block, if that is a
        text block with an index.

        So a stream that begins with a text, before other blocks follow, adds up to blocks only.
        """
        if items and self.groups and isinstance(self.groups[-1][0], str):
            first = items[0]
            if _index_of(first) is not None and first.get("type") == "text":
                text = "".join(self.groups.pop())
                items = [{**first, "text": text + (first.get("text") or "")}, *items[1:]]
        self.add(items)

    def _begin(self, item: Any, index: int | str | None) -> None:
        """Append an element to the sum. Later elements with its `index` key, and no other `id`, are added to it."""
        group = [item]
        self.groups.append(group)
        if index is not None:
            known = self.indexed.setdefault(index, {})
            identity = item.get("id")
            if not identity or not isinstance(identity, str):
                identity = None
            known.pop(identity, None)
            known[identity] = group

    def result(self) -> list[Any]:
        return [group[0] if len(group) == 1 else _merge_group(group) for group in self.groups]


def _index_of(item: Any) -> int | str | None:
    if not isinstance(item, dict):
        return None
    index = item.get("index")
    if isinstance(index, int) or (isinstance(index, str) and index.startswith(_OUR_INDEX)):
        return index
    return None


def _merge_group(group: list[Any]) -> Any:
    """Return the merged deltas of one list element, with the first `type` among them."""
    if isinstance(group[0], str):
        return "".join(group)
    kind = next((item["type"] for item in group if "type" in item), None)
    if kind is None:
        return merge_dicts(*group)
    if kind != "non_standard":
        group = [_as_extras(item) if item.get("type") == "non_standard" else item for item in group]
    else:
        group = [group[0], *(_without_inner_type(item) for item in group[1:])]
    columns = merge_dicts(*({**item, "type": None} for item in group))
    columns["type"] = kind
    return columns


def _as_extras(block: dict[Any, Any]) -> dict[Any, Any]:
    """Return a delta that adds the value of a `non_standard` block to the `extras` of a standard block."""
    return {"index": block["index"], "extras": block.get("value", {})}


def _without_inner_type(block: dict[Any, Any]) -> dict[Any, Any]:
    """Return a later delta of a `non_standard` block without the inner `type`, which the first delta has."""
    value = block.get("value")
    if isinstance(value, dict):
        return {**block, "value": {k: v for k, v in value.items() if k != "type"}}
    return block


def merge_lists(left: list[Any] | None, *others: list[Any] | None) -> list[Any] | None:
    """Return lists joined; dicts with the same integer `index` become one.

    No operand is changed.
    """
    lists = [items for items in (left, *others) if items is not None]
    if not lists:
        return None
    total = _ListSum(lists[0])
    for items in lists[1:]:
        total.add(items)
    return total.result()


def add_contents(first: Content, *others: Content) -> Content:
    """Return the sum of message contents: a text if all are texts, else a list of blocks.

    An empty text adds nothing. A text after a list continues its last element if that is a text; a
    text before a list is prepended to its first block if that is a text block with an index
    (Anthropic's decoder relies on it).
    """
    if isinstance(first, str) and all(isinstance(content, str) for content in others):
        return "".join((first, *others))  # type: ignore[arg-type]  # checked above
    total = _ListSum(() if isinstance(first, str) else first)
    for content in (first, *others) if isinstance(first, str) else others:
        if isinstance(content, str):
            total.add_text(content)
        else:
            total.add_blocks(content)
    return total.result()


def merge_content(first_content: Content, *contents: Content) -> Content:
    """Return the sum like `add_contents`, but an empty text before a list becomes an element, as scripts expect."""
    merged = add_contents(first_content, *contents)
    if first_content == "" and isinstance(
        next((content for content in contents if content != ""), None), list
    ):
        return ["", *merged]
    return merged


def merge_obj(left: Any, right: Any) -> Any:
    """Return the sum of two values of one type, such as the artifacts of tool message chunks; None adds nothing.

    Raises: `InvalidType` if their types differ, `InvalidArgument` if values of their type cannot be
    added.
    """
    if left is None or right is None:
        return left if right is None else right
    if type(left) is not type(right):
        raise InvalidType(
            f"Cannot add values of different types: `{type(left).__name__}` and `{type(right).__name__}`."
        )
    if isinstance(left, str):
        return left + right
    if isinstance(left, dict):
        return merge_dicts(left, right)
    if isinstance(left, list):
        return merge_lists(left, right)
    if left == right:
        return left
    raise InvalidArgument(f"Cannot add two different values of type `{type(left).__name__}`.")
