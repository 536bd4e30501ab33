"""Finds the Batch API for the wire format of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import errors, ext, lazy

if TYPE_CHECKING:
    from modelwire.jobs.batch_api import vertex
    from modelwire.jobs.batch_api.api import BatchApi
else:
    vertex = lazy.module("modelwire.jobs.batch_api.vertex")

for _wire, _reference in (
    ("openai", "modelwire.jobs.batch_api.openai:OpenAIBatches"),
    ("responses", "modelwire.jobs.batch_api.openai:OpenAIBatches"),
    ("anthropic", "modelwire.jobs.batch_api.anthropic:AnthropicBatches"),
    ("gemini", "modelwire.jobs.batch_api.gemini:GeminiBatches"),
):
    ext.register_batch_api(_wire, _reference)


def api_of(wire: str, *, azure: bool, bucket: str | None = None) -> BatchApi:
    """Return the Batch API for a wire format, such as "openai" or "gemini".

    `azure` selects Azure's variant of OpenAI's API, a `bucket` Vertex AI's API instead of Gemini's.
    Raises: `InvalidArgument` if there is none.
    """
    if bucket is not None:
        return vertex.VertexBatches(bucket)
    known = ext.wire_named(wire)
    make = known.batch_api
    if make is None:
        raise errors.InvalidArgument(f"There is no Batch API for {known.title}: use `run_job`.")
    api: BatchApi = make(azure=azure)
    return api
