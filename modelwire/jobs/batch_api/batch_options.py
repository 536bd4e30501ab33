"""The options of `submit_batch`: those that it shares with `run_job`, and its own."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

from modelwire.aliases import StrPath
from modelwire.errors import InvalidArgument
from modelwire.jobs.options import Setting, SharedOptions, checked, described

# Users may set this many of the 16 pairs that OpenAI takes; the job itself needs three.
# https://platform.openai.com/docs/api-reference/batch/create, read 2026-11
_METADATA_PAIRS = 13


# Called with the progress of a batch job; see `Reconciler.progress`.
OnProgress: TypeAlias = Callable[[dict[str, Any]], object]


class BatchOptions(SharedOptions, total=False):
    dir: Annotated[
        StrPath | None,
        Setting("the folder of the job's state (default: a new folder batch-....job here)"),
    ]
    key: Annotated[
        str | None,
        Setting(
            "each result repeats the value of this column",
        ),
    ]
    metadata: Annotated[
        Mapping[str, str],
        Setting(
            "OpenAI stores these pairs with each batch",
        ),
    ]
    on_progress: Annotated[
        OnProgress | None,
        Setting("called with the progress whenever the batches were polled"),
    ]
    check: Annotated[
        int,
        Setting(
            "call this many first rows directly before anything is submitted",
            0,
            least=0,
        ),
    ]
    part_rows: Annotated[
        int | None,
        Setting("a batch has at most this many rows (default: the provider's limit)", least=1),
    ]
    part_bytes: Annotated[
        int | None,
        Setting("a batch has at most this many bytes (default: the provider's limit)", least=1),
    ]
    max_rounds: Annotated[
        int,
        Setting("submit a row that fails with a transient error at most this often", 2, least=1),
    ]


BatchOptions.__doc__ = described("submit_batch", BatchOptions)


def checked_options(keywords: BatchOptions) -> dict[str, Any]:
    """Return the options of a batch, completed by the defaults.

    Raises: `InvalidArgument` for an invalid value.
    """
    options = checked(BatchOptions, keywords, "batch")
    pairs = options["metadata"] or {}
    options["metadata"] = {str(name): str(value) for name, value in pairs.items()}
    if len(pairs) > _METADATA_PAIRS:
        raise InvalidArgument(f"`metadata` may have {_METADATA_PAIRS} pairs, not {len(pairs)}.")
    return options
