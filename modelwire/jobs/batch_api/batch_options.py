"""The options of `submit_batch`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from modelwire.errors import InvalidArgument, InvalidType, did_you_mean

if TYPE_CHECKING:
    from modelwire.runnables import RunnableConfig

__all__ = ["BatchOptions", "checked_options"]

# Users may set this many of the 16 pairs that OpenAI takes; the job itself needs three.
# https://platform.openai.com/docs/api-reference/batch/create, read 2026-11
METADATA_PAIRS = 13


class BatchOptions(TypedDict, total=False):
    """The keywords of `submit_batch`. All are optional."""

    # The job's state is stored in this folder; the default is a new folder `batch-....job` in the
    # working directory.
    dir: str | os.PathLike[str] | None
    # Each result repeats the value of this column.
    key: str | None
    # OpenAI stores these pairs with each batch.
    metadata: Mapping[str, str]
    # Vertex AI needs this folder of Google Cloud Storage: `gs://my-bucket/folder`.
    bucket: str | None
    on_progress: Callable[[dict[str, Any]], object] | None
    # The steps before and after the model run with this config.
    config: RunnableConfig | None
    # This many first rows are called directly before anything is submitted.
    check: int
    # Only this many first rows are submitted.
    limit: int | None
    # CSV files are read in this encoding.
    encoding: str
    # A batch has at most this many rows; the default is the provider's limit.
    part_rows: int | None
    part_bytes: int | None
    # If True, equal requests are submitted once.
    dedupe: bool
    # A row that fails with a transient error is submitted at most this many times.
    max_rounds: int
    # The command line stores here how to run the job again.
    command: dict[str, Any] | None


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
    """Return the options completed by the defaults.

    Raises: `InvalidArgument` for an invalid value.
    """
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
