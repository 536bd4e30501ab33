"""Submits a batch job: stores its rows, divides them into parts, and creates a batch of each part.

A submission that was interrupted resumes when it is called again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Any, Unpack

from modelwire import ext
from modelwire.aliases import JSON, Fields
from modelwire.errors import CallerError, InvalidArgument, JobChanged
from modelwire.jobs.batch_api import embeddings
from modelwire.jobs.batch_api.api import BatchApi
from modelwire.jobs.batch_api.azure import is_azure
from modelwire.jobs.batch_api.batch_folder import FORMAT
from modelwire.jobs.batch_api.batch_options import BatchOptions, checked_options
from modelwire.jobs.batch_api.chain import NotBatchable, Split, split_chain
from modelwire.jobs.batch_api.job import BatchJob
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.jobs.batch_api.part_requests import Limits, PartRequests
from modelwire.jobs.batch_api.plan import Requests, Rows, limited, plan_rows, read_rows, rows_digest
from modelwire.jobs.batch_api.registry import api_of
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.owned_files import disk_errors
from modelwire.jobs.store import INPUTS, LIVE, REPLIES
from modelwire.runnables import run_in_executor

# Submission is tried at most this many times if the provider or the network fails.
_TRIES = 5
_VERTEX = "google_vertexai"
# These providers use the chat format of another provider, but not its Batch API; the text is the
# error. Groq's Batch API is OpenAI's (https://console.groq.com/docs/batch). Read 2026-11.
_OF_THEIR_OWN = {
    _VERTEX: (
        "Vertex AI makes batches of files in a bucket of Google Cloud Storage: "
        '`bucket="gs://my-bucket/folder"` (`--bucket`). With a key of the Gemini API the same models are batched '
        "without one: `ChatGoogleGenerativeAI(..., vertexai=False, api_key=...)`."
    ),
    "google_anthropic_vertex": "On Vertex AI batches of files in a bucket are made for Gemini only.",
    "mistralai": "Mistral's Batch API is one of its own (https://docs.mistral.ai/capabilities/batch).",
    "xai": "xAI's Batch API is one of its own (https://docs.x.ai/docs/guides/batch-api).",
}


def submit_batch(chain: Any, inputs: Any, **options: Unpack[BatchOptions]) -> BatchJob:
    """Submit `inputs` to the Batch API of the chain's provider: answers arrive within a day, at half the price.

    `chain` is a chat model, a chain with one, or an embeddings model of OpenAI's. `inputs` is an iterable of its
    inputs, or the path of a CSV, TSV, JSON lines or Parquet file. Steps before the model run now, those after it when
    results are read. With the `dir` of an interrupted job the submission resumes, and no batch is
    created twice. Raises: `NotBatchable` for a chain that cannot be split at one model,
    `JobChanged` for a `dir` with a different job.

    Example:
        job = submit_batch(prompt | model | parser, "reviews.csv", dir="runs/reviews")
        job.wait()
        for result in job.results():
            print(result.index, result.output, result.error)
    """
    return submit(chain, inputs, options, searches=True)


def submit(chain: Any, inputs: Any, options: BatchOptions, *, searches: bool) -> BatchJob:
    """Submit rows as `submit_batch` does.

    With `searches`, wait until it is known whether each batch was created, also if the provider's
    answer was lost. Without it, `BatchJob.wait` or `poll` finds that out.
    """
    settings = checked_options(options)
    chain = embeddings.with_steps(chain, settings["text"])
    split = split_chain(chain, settings["config"])
    api = batch_api_of(split.model, settings["bucket"])
    folder = JobFolder(_place(settings["dir"]))
    job = BatchJob(folder.path, split, on_progress=settings["on_progress"])
    rows, fingerprint = read_rows(inputs, settings["encoding"])
    with closing(rows), job.place.claimed() as (folder, events):
        is_new = not folder.about
        folder.agree(_fingerprint(split, fingerprint, settings), settings["command"])
        if not events.planned:
            try:
                folder.note(batch=_settings(split, settings))
                with job.place.client(folder, events):
                    # A missing SDK must not leave a job's folder behind.
                    pass
                _check_live(split, inputs, settings)
                _plan(folder, events, split, rows, api, settings)
            except CallerError:  # Nothing was submitted, and nothing will be.
                if is_new:
                    rmtree(folder.path, ignore_errors=True)
                raise
        elif not fingerprint:
            digest = rows_digest(rows, settings["key"], settings["limit"])
            if digest != events.rows_sha256:
                raise JobChanged(
                    f"`{folder.path}` holds a batch job of other inputs. Name another `dir`, or delete that folder."
                )
        job.hand_in(folder, events, tries=_TRIES, searches=searches)
    return job


def takes_bucket(model: Any) -> bool:
    """Return whether the batches of a model are made of files in a bucket."""
    return str(getattr(model, "provider", "")) == _VERTEX


def batch_api_of(model: Any, bucket: str | None = None) -> BatchApi:
    """Return the Batch API of a model, without any request.

    Raises: `NotBatchable` or `InvalidArgument` if there is none.
    """
    provider = str(getattr(model, "provider", ""))
    if takes_bucket(model) and bucket is not None:
        if "/projects/" not in model._endpoint(ask=False).base_url:
            raise NotBatchable(
                "Vertex AI makes batches in a project: pass `project=`. An API key alone has none."
            )
    elif (reason := _OF_THEIR_OWN.get(provider)) is not None:
        raise NotBatchable(f"{reason} `run_job` calls the model directly for each row.")
    elif bucket is not None:
        raise InvalidArgument(f"`bucket` is for Gemini on Vertex AI; `{provider}` takes none.")
    return api_of(model._wire().name, azure=is_azure(model), bucket=bucket)


async def asubmit_batch(chain: Any, inputs: Any, **options: Unpack[BatchOptions]) -> BatchJob:
    """Submit `inputs` without blocking the event loop; see `submit_batch`."""
    return await run_in_executor(None, submit_batch, chain, inputs, **options)


def _place(dir: Any) -> Path:
    if dir is not None:
        return Path(os.fspath(dir))
    from uuid import uuid4

    return Path(f"batch-{uuid4().hex[:8]}.job")


def _fingerprint(split: Split, of_input: JSON, options: Fields) -> JSON:
    of_input = limited(of_input, options["limit"])
    return {"input": of_input, **split.work.fingerprint(), "via": "batch-api"}


def _settings(split: Split, options: Fields) -> JSON:
    """Return the settings with which another process can continue the job. They contain no secrets."""
    model: Any = split.model
    address = model.base_url
    if options["bucket"] is not None:
        # The address on Vertex AI contains the project and the location; another process may have
        # different defaults.
        address = model._endpoint().base_url
    base_url = None
    if address is not None:
        base_url = ext.shown_url(address)
    client = None
    if model.client is not None:
        client = type(model.client).__name__
    facts: JSON = {
        "wire": model._wire().name,
        "provider": model.provider,
        "model": model.model,
        "format": FORMAT,
    }
    for name in ("key", "metadata", "part_rows", "part_bytes", "max_rounds", "limit", "bucket"):
        facts[name] = options[name]
    facts |= {
        "base_url": base_url,
        "client": client,
        "azure": is_azure(model),
        "embeddings": embeddings.embeddings_facts(split.before),
    }
    return facts


def _check_live(split: Split, inputs: Any, options: Fields) -> None:
    """Call the model for the first rows directly: a provider may take hours to report an invalid request."""
    if not options["check"]:
        return
    if isinstance(inputs, Iterator):
        raise InvalidArgument(
            "`check` reads the first rows twice: give a list or a file, not an iterator."
        )
    rows, _ = read_rows(inputs, options["encoding"])
    with closing(rows):
        for row in islice(rows, options["check"]):
            answer = split.call_directly(row.values)
            if split.after is not None:
                split.after.invoke(answer, split.config)


def _plan(
    folder: JobFolder,
    events: PartEvents,
    split: Split,
    rows: Rows,
    api: BatchApi,
    options: Fields,
) -> None:
    """Store the rows and their requests, in one transaction with the event that names the parts."""
    limits = Limits.of(api, options["part_rows"], options["part_bytes"])
    store = events.store
    with store.transaction(), disk_errors(folder.path):
        # If the event of an earlier plan was damaged, the tables have its entries.
        for table in (INPUTS, REPLIES, LIVE):
            store.clear(table)
        parts = PartRequests(store, api, limits, ())
        requests = Requests(split, parts, api, folder.id, store, dedupe=options["dedupe"])
        chosen = islice(rows, options["limit"])
        plan = plan_rows(split, chosen, requests, parts, store, key=options["key"])
        events.write("planned", **plan._asdict())
