"""The options of `submit_batch`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from modelwire.errors import InvalidArgument, InvalidType, did_you_mean

if TYPE_CHECKING:
    from modelwire.runnables import RunnableConfig

__all__ = ["BatchOptions", "checked_options"]

METADATA_PAIRS = 13  # of 16, three are ours: https://platform.openai.com/docs/api-reference/batch/create, read 2026-11


class BatchOptions(TypedDict, total=False):
    """The keywords of `submit_batch`; all may be left out."""

    dir: (
        str | os.PathLike[str] | None
    )  # where the job's state lies; a new folder `batch-....job` here by default
    key: str | None  # a column whose value is told with each result
    metadata: Mapping[str, str]  # kept by OpenAI with each batch
    bucket: str | None  # of Google Cloud Storage, for Vertex AI: `gs://my-bucket/folder`
    on_progress: Callable[[dict[str, Any]], object] | None
    config: RunnableConfig | None  # for the steps before and after the model
    check: int  # so many first rows are asked live before anything is handed in
    limit: int | None  # only the first rows
    encoding: str  # of a CSV file
    part_rows: int | None  # of one batch, at most; the provider's limit by default
    part_bytes: int | None
    dedupe: bool  # hand equal requests in once
    max_rounds: int  # times that a row with a passing error is asked
    command: dict[str, Any] | None  # how the command line runs it again


_DEFAULTS: dict[str, Any] = {
    "dir": None,
    "key": None,
    "metadata": {},
    "on_progress": None,
    "config": None,
    "check": 0,
    "limit": None,
    "encoding": "utf-8",
    "part_rows": None,
    "part_bytes": None,
    "dedupe": True,
    "max_rounds": 2,
    "command": None,
    "bucket": None,
}
_COUNTS = {"check": 0, "limit": 1, "part_rows": 1, "part_bytes": 1, "max_rounds": 1}


def checked_options(keywords: BatchOptions) -> dict[str, Any]:
    """Complete the options with the defaults. Raises: `InvalidArgument` for what cannot be."""
    for name in keywords:
        if name not in _DEFAULTS:
            raise InvalidType(
                f"A batch has no option `{name}`. {did_you_mean(name, list(_DEFAULTS))}"
            )
    options = {**_DEFAULTS, **keywords}
    for name, least in _COUNTS.items():
        value = options[name]
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < least
        ):
            raise InvalidArgument(
                f"`{name}` must be a whole number of at least {least}, not {value!r}."
            )
    options["metadata"] = {
        str(name): str(value) for name, value in (options["metadata"] or {}).items()
    }
    if len(options["metadata"]) > METADATA_PAIRS:
        raise InvalidArgument(
            f"`metadata` may have {METADATA_PAIRS} pairs, not {len(options['metadata'])}."
        )
    return options
