"""Differences of JSON values as JSON Patches (RFC 6902). Pure."""

from __future__ import annotations

from typing import Any

from modelwire.aliases import JSON


def json_patch(before: Any, after: Any) -> list[JSON]:
    """Return the operations of a JSON Patch (RFC 6902) that turns `before` into `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        patch = [_operation("remove", key) for key in before if key not in after]
        for key, value in after.items():
            if key not in before:
                patch.append(_operation("add", key, value=value))
            elif before[key] is not value:
                # In a stream, most values are the same object as before.
                patch += _below(key, before[key], value)
        return patch
    if isinstance(before, list) and isinstance(after, list):
        shared = min(len(before), len(after))
        patch = [_operation("remove", i) for i in reversed(range(shared, len(before)))]
        for i, value in enumerate(after):
            if i >= shared:
                patch.append(_operation("add", i, value=value))
            elif before[i] is not value:
                patch += _below(i, before[i], value)
        return patch
    if type(before) is type(after) and before == after:
        return []
    return [{"op": "replace", "path": "", "value": after}]


def pointer(key: object) -> str:
    """Return a key as a part of a JSON Pointer (RFC 6901)."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _operation(op: str, key: object, **value: Any) -> JSON:
    return {"op": op, "path": f"/{pointer(key)}", **value}


def _below(key: object, before: Any, after: Any) -> list[JSON]:
    """Return the operations on the values under `key`."""
    patch = json_patch(before, after)
    for operation in patch:
        operation["path"] = f"/{pointer(key)}{operation['path']}"
    return patch
