"""A batch that the provider makes after its creation has failed is found, and is not made and billed twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.late_batches import DIALECTS, RESET, Clock, LateBatches

from modelwire.errors import ConnectFailed, PermissionDenied, Timeout
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import job as job_module
from modelwire.jobs.batch_api.anthropic import AnthropicBatches
from modelwire.jobs.batch_api.creation import SEARCH_S

Serve = Callable[..., LateBatches]
every = pytest.mark.parametrize("dialect", DIALECTS)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def short_search() -> None:
    """Leave the pauses as they are: here a clock is moved."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(job_module, "time", clock.module)
    return clock


@pytest.fixture
def serve(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    servers: list[LateBatches] = []

    def start(dialect: str, *failures: Any) -> LateBatches:
        servers.append(LateBatches(dialect, clock, *failures))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", servers[-1].url)
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def submit(server: LateBatches, folder: Path) -> BatchJob:
    return server.model().submit_batch(["a", "b"], dir=folder, **server.options)


def texts(job: BatchJob) -> list[str]:
    return [result.output.text for result in job.wait(poll=1.0).results()]


@every
@pytest.mark.parametrize("status", [504, RESET])
@pytest.mark.parametrize("delay_s", [2.0, 200.0])
def test_a_batch_that_appears_after_its_creation_failed_is_adopted(
    serve: Serve, tmp_path: Path, dialect: str, status: int, delay_s: float
) -> None:
    server = serve(dialect, (status, delay_s))
    job = submit(server, tmp_path / "a.job")
    assert job.status(look=False).batches == ("b0",)
    assert texts(job) == ["To a", "To b"]
    assert len(server.created) == len(server.batches) == 1


@every
def test_a_batch_that_appears_after_a_kill_is_adopted(
    serve: Serve, clock: Clock, tmp_path: Path, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(dialect, (504, 100.0))

    def kill(seconds: float) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(clock.module, "sleep", kill)
        with pytest.raises(Killed):
            submit(server, tmp_path / "a.job")
        with pytest.raises(Timeout):  # another process looks once, and is too early as well
            BatchJob.load(tmp_path / "a.job", server.model()).wait(timeout=0.0)
    clock.now += 30.0
    assert texts(BatchJob.load(tmp_path / "a.job", server.model())) == ["To a", "To b"]
    assert len(server.created) == len(server.batches) == 1


@every
def test_a_batch_that_never_appears_is_made_after_the_search_and_the_user_is_told(
    serve: Serve, clock: Clock, tmp_path: Path, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, began = serve(dialect, (504, None)), clock.now
    with caplog.at_level(logging.WARNING):
        job = submit(server, tmp_path / "a.job")
    assert clock.now - began >= SEARCH_S
    assert len(server.batches) == 1 and server.lists <= 15
    assert clock.sleeps[1] < clock.sleeps[3] < clock.sleeps[5]  # pauses grow
    before, after = (record.getMessage() for record in caplog.records)
    assert "It is unknown whether the provider has created the batch of part 0" in before
    assert "if that batch appears later, it is billed" in after
    assert texts(job) == ["To a", "To b"]


@pytest.mark.long
@every
def test_a_batch_that_appears_after_the_job_was_cancelled_is_cancelled_or_watched(
    serve: Serve, clock: Clock, tmp_path: Path, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(dialect, (504, 100.0))
    with monkeypatch.context() as patched:
        patched.setattr(clock.module, "sleep", lambda s: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            submit(server, tmp_path / "a.job")
    job = BatchJob.load(tmp_path / "a.job", server.model())
    job.cancel()
    assert job.status(look=False).state == "cancelling"
    assert texts(job) == ["To a", "To b"]  # it had been answered by then, and is paid


@every
def test_a_creation_that_the_provider_refuses_is_repeated_without_a_search(
    serve: Serve, clock: Clock, tmp_path: Path, dialect: str
) -> None:
    server, began = serve(dialect, (429, None), (403, None)), clock.now
    with pytest.raises(PermissionDenied):
        submit(server, tmp_path / "a.job")
    assert texts(submit(server, tmp_path / "a.job")) == ["To a", "To b"]
    assert clock.now - began < 10 and len(server.batches) == 1


def test_a_refusal_says_nothing_of_the_creation_after_it(
    serve: Serve, clock: Clock, tmp_path: Path
) -> None:
    server = serve("openai", (403, None), (504, 60.0))
    with pytest.raises(PermissionDenied):
        submit(server, tmp_path / "a.job")
    assert texts(submit(server, tmp_path / "a.job")) == ["To a", "To b"]
    assert len(server.batches) == 1


def test_the_user_may_end_the_search(
    serve: Serve, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("openai", (504, None))
    with monkeypatch.context() as patched:
        patched.setattr(clock.module, "sleep", lambda s: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            submit(server, tmp_path / "a.job")
    job, began = BatchJob.load(tmp_path / "a.job", server.model()), clock.now
    job.submit_again(0)
    assert texts(job) == ["To a", "To b"]
    assert clock.now - began < 10 and len(server.batches) == 1


def test_a_provider_that_cannot_be_reached_has_made_no_batch(
    serve: Serve, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, began = serve("anthropic"), clock.now

    def unreachable(*args: Any) -> Any:
        raise ConnectFailed("No connection could be made.")

    with monkeypatch.context() as patched:
        patched.setattr(AnthropicBatches, "create", unreachable)
        with pytest.raises(ConnectFailed):
            submit(server, tmp_path / "a.job")
    assert texts(submit(server, tmp_path / "a.job")) == ["To a", "To b"]
    assert clock.now - began < 30 and len(server.batches) == 1
