"""A batch job against a model of the world: whatever happens to it, and in whatever order, its promises hold.

Every row has its own answer or an honest failure, nothing is paid twice, nobody else's batch is cancelled or taken for
ours, what was paid is kept, and the job ends. The world is `support.simulated_batches`: the Batch APIs in memory.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.simulated_batches import Batch, Killed, Provider

from modelwire.adapters import ChatAnthropic, ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.errors import ChatError, DiskError, InvalidArgument, JobError, JobStopped, Timeout
from modelwire.jobs import BatchJob
from modelwire.jobs import store as store_module
from modelwire.jobs.batch_api import job as job_module
from modelwire.jobs.batch_api import part_log as events_module
from modelwire.jobs.batch_api import reconcile as reconciler_module
from modelwire.jobs.batch_api.open_job import BatchUncertain
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.jobs.batch_api.part_requests import name_of, requests_of
from modelwire.jobs.store import JobStore

LUCK = ["lose_create", "refuse_create", "refuse_cancel"]
SKEWS_S = [0.0, -3e6, -4000.0, -360.0, 360.0, 4000.0, 3e6]  # of this machine's clock
PLANS = ["", "line", "full"]  # what becomes of batches to come
PASSES = 80  # of a healed world in which a job must end
fuses = st.sampled_from(
    [None] * 25 + list(range(25))
)  # so many things are done before the process is killed


class BatchMachine(RuleBasedStateMachine):
    """One job, its provider, its user, a colleague on the same account."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.root = Path(tempfile.mkdtemp(prefix="batches-"))
        self.stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.folder = self.root / "a.job"
        self.fuse: int | None = None
        self.tears = False  # the event that is being written when the process is killed
        self.skew_s = 0.0  # of this machine's clock
        self.damaged = False
        self.broken = False  # the store says that it is
        self.uncertain: BatchUncertain | None = None
        self.made_when_cancelled = 0
        write = PartEvents.write

        def writing(events: PartEvents, said: str, *rest: Any, **facts: Any) -> None:
            self._trip(f"before {said}", events)
            write(events, said, *rest, **facts)
            self._trip(f"after {said}")

        clock = SimpleNamespace(
            time=lambda: self.provider.now + self.skew_s,
            sleep=self._sleep,
            monotonic=lambda: 0.0,
        )
        for module in (events_module, job_module):
            self.stack.enter_context(patch.object(module, "time", clock))
        self.stack.enter_context(patch.object(reconciler_module, "LATE_S", 3600.0))
        self.stack.enter_context(patch.object(PartEvents, "write", writing))
        self.stack.enter_context(patch.object(store_module, "SYNCHRONOUS", "OFF"))
        self.stack.enter_context(patch("os.fsync", lambda fd: None))

    @initialize(
        dialect=st.sampled_from(["openai", "anthropic", "gemini"]),
        rows=st.integers(2, 7),
        part_rows=st.integers(1, 4),
        max_rounds=st.integers(1, 2),
        fuse=fuses,
        may_be_damaged=st.booleans(),
        luck=st.sampled_from(LUCK),
        skew_s=st.sampled_from(SKEWS_S),
        is_busy=st.booleans(),
        plans=st.lists(st.sampled_from(PLANS), max_size=4),
    )
    def begin(
        self,
        dialect: str,
        rows: int,
        part_rows: int,
        max_rounds: int,
        fuse: int | None,
        may_be_damaged: bool,
        luck: str,
        skew_s: float,
        is_busy: bool,
        plans: list[str],
    ) -> None:
        self.may_be_damaged, self.skew_s = may_be_damaged, skew_s
        self.provider = Provider(dialect)
        self.texts = [f"q{number}" for number in range(rows)]
        self.options: Any = {"part_rows": part_rows, "max_rounds": max_rounds}
        client = self.stack.enter_context(httpx2.Client(transport=self.provider))
        given: Any = {"model": "m", "api_key": "k", "http_client": client}
        if dialect == "openai":
            self.model: Any = ChatOpenAI(base_url="https://api.test/v1", **given)
        elif dialect == "gemini":
            self.model = ChatGoogleGenerativeAI(base_url="https://api.test", **given)
        else:
            self.model = ChatAnthropic(base_url="https://api.test", **given)
        self.provider.trip = self._trip
        self.provider.on_create = self._check_create
        self.provider.is_busy, self.provider.next_plan = is_busy, plans
        if is_busy:
            self.colleague_makes_a_batch(part_rows)
        setattr(self.provider, luck, 1)
        self.submit(fuse)

    def _sleep(self, seconds: float) -> None:
        self.provider.now += seconds

    # ------------------------------------------------------------ how a process ends

    def _trip(self, where: str, events: PartEvents | None = None) -> None:
        if self.fuse is None:
            return
        if self.fuse > 0:
            self.fuse -= 1
            return
        self.fuse = None
        if self.tears and events is not None and events._store is not None:
            with (self.folder / "job.sqlite-wal").open("ab") as file:
                file.write(b'0123abcd {"event": "torn')
        event(f"killed {where.split('/')[0]}")
        raise Killed(where)

    def _do(self, act: Any, fuse: int | None) -> None:
        """Let a process do something; it may be killed, and it may say that it cannot go on."""
        self.fuse = fuse
        try:
            act()
        except Killed:
            pass
        except BatchUncertain as exc:
            event("uncertain")
            self.uncertain = exc
        except JobStopped as exc:
            late = [
                one
                for one in self.provider.batches
                if not one.ended and self.provider.now > one.made_at + 90_000
            ]
            if not late or "should have ended" not in str(exc):
                raise
        except DiskError:
            assert self.damaged
            event("the store is broken")
            self.broken = True
        except (Timeout, ChatError):
            pass
        except JobError as exc:
            if "submit it again" not in str(exc) and "not done" not in str(exc):
                raise
        finally:
            self.fuse = None

    def _check_create(self) -> None:
        self.made_when_cancelled += PartEvents(self.folder).read().cancelled

    def ours(self) -> list[Batch]:
        return [batch for batch in self.provider.batches if batch.owner == "ours"]

    def job(self) -> BatchJob:
        return BatchJob.load(self.folder, self.model)

    # ------------------------------------------------------------ what the user does

    @precondition(lambda self: not self.broken)
    @rule(fuse=fuses)
    def submit(self, fuse: int | None) -> None:
        self._do(lambda: self.model.submit_batch(self.texts, dir=self.folder, **self.options), fuse)

    def is_job(self) -> bool:
        return (
            not self.broken
            and (self.folder / "job.json").exists()
            and (self.folder / "job.sqlite").exists()
        )

    @precondition(is_job)
    @rule(fuse=fuses)
    def look(self, fuse: int | None) -> None:
        self._do(lambda: self.job().wait(timeout=0, poll=0), fuse)

    @precondition(is_job)
    @rule(fuse=fuses, share=st.floats(0, 1), failing=st.integers(0, 1))
    def look_at_what_has_come(self, fuse: int | None, share: float, failing: int) -> None:
        """Most of what happens: rows are answered, a batch ends, the job looks."""
        for batch in self.provider.batches:
            self.provider.progress(batch, share, failing)
        self.end_one(0, "completed")
        self._do(lambda: self.job().wait(timeout=0, poll=0), fuse)

    @precondition(is_job)
    @rule(fuse=fuses)
    def cancel(self, fuse: int | None) -> None:
        self._do(lambda: self.job().cancel(), fuse)

    @precondition(is_job)
    @rule(fuse=fuses, status=st.sampled_from(["cancelled", "expired", "errored", "missing"]))
    def resubmit(self, fuse: int | None, status: str) -> None:
        self._do(lambda: self.job().resubmit(status), fuse)

    @precondition(lambda self: self.uncertain is not None and not self.broken)
    @rule(fuse=fuses)
    def decide(self, fuse: int | None) -> None:
        """Do what the error advises, knowing the truth: of now, for the job may have gone on since it was raised."""
        self.uncertain = None
        self._do(lambda: self.job().wait(timeout=0, poll=0), None)
        if self.uncertain is None or self.broken:
            return
        number, ids = self.uncertain.part, self.uncertain.batch_ids
        events = PartEvents(self.folder).read()
        job = self.job()
        api = job.place.api(job.place.read()[0])
        with closing(JobStore(self.folder, read_only=True)) as store:
            names = [
                name_of(api, request) for _, request in requests_of(store, events.parts[number])
            ]
        truth = [
            batch.id
            for batch in self.ours()
            if batch.id in ids and [name for name, _ in batch.rows] == names
        ]
        assert len(truth) <= 1

        def decided() -> None:
            try:
                job.adopt(number, truth[0]) if truth else job.submit_again(number)
            except InvalidArgument as exc:
                if "Nothing is uncertain" not in str(exc):
                    raise

        self._do(decided, fuse)
        self.uncertain = None

    # ------------------------------------------------------------ what the world does

    @precondition(lambda self: self.provider.batches)
    @rule(which=st.integers(0, 50), share=st.floats(0, 1), failing=st.integers(0, 1))
    def answer_rows(self, which: int, share: float, failing: int) -> None:
        self.provider.progress(
            self.provider.batches[which % len(self.provider.batches)], share, failing
        )

    @precondition(lambda self: any(not batch.ended for batch in self.provider.batches))
    @rule(state=st.sampled_from(["completed", "expired"]), look=st.booleans())
    def end_all_batches(self, state: str, look: bool) -> None:
        for batch in self.provider.batches:
            self.provider.end(batch, "cancelled" if batch.state == "cancelling" else state)
        if look and self.is_job():
            self.look(None)

    @precondition(lambda self: any(not batch.ended for batch in self.provider.batches))
    @rule(
        which=st.integers(0, 50),
        state=st.sampled_from(["completed", "completed", "expired", "cancelled"]),
    )
    def end_batch(self, which: int, state: str) -> None:
        self.end_one(which, state)

    def end_one(self, which: int, state: str) -> None:
        open_ones = [batch for batch in self.provider.batches if not batch.ended]
        if open_ones:
            batch = open_ones[which % len(open_ones)]
            self.provider.end(batch, "cancelled" if batch.state == "cancelling" else state)

    @rule(rows=st.integers(1, 4))
    def colleague_makes_a_batch(self, rows: int) -> None:
        self.provider.make("a colleague", [(f"other-{n}", f"c{n}") for n in range(rows)])

    @rule(
        kind=st.sampled_from(LUCK),
        count=st.integers(1, 6),
        is_busy=st.booleans(),
    )
    def have_bad_luck(self, kind: str, count: int, is_busy: bool) -> None:
        setattr(self.provider, kind, count)
        self.provider.is_busy = is_busy

    @rule(plans=st.lists(st.sampled_from(PLANS), max_size=4))
    def fail_batches(self, plans: list[str]) -> None:
        self.provider.next_plan = plans

    @rule(
        passed_s=st.sampled_from([0.0, 1.0, 400.0, 4000.0, 30_000.0]),
        skew_s=st.sampled_from(SKEWS_S),
        compress=st.booleans(),
        mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
        tears=st.booleans(),
        loses_files=st.booleans(),
    )
    def let_time_pass(
        self,
        passed_s: float,
        skew_s: float,
        compress: bool,
        mark: bytes,
        tears: bool,
        loses_files: bool,
    ) -> None:
        self.provider.now += passed_s
        self.skew_s, self.tears = skew_s, tears
        self.provider.compress, self.provider.mark = compress, mark
        if loses_files:  # those that were uploaded
            results = {name for batch in self.provider.batches for name in batch.files.values()}
            self.provider.files = {
                name: data for name, data in self.provider.files.items() if name in results
            }

    @precondition(lambda self: self.is_job() and self.may_be_damaged and not self.damaged)
    @rule(which=st.integers(1, 8), count=st.integers(1, 3))
    def damage_the_store(self, which: int, count: int) -> None:
        """Change events of the store, counted from its end: the last ones matter most."""
        self.damaged = True
        with closing(sqlite3.connect(self.folder / "job.sqlite")) as store, store:
            ids = [id for (id,) in store.execute("SELECT id FROM events ORDER BY id")]
            for id in ids[max(0, len(ids) - which) : max(0, len(ids) - which + count)]:
                store.execute("UPDATE events SET record = substr(record, 2) WHERE id = ?", (id,))

    # ------------------------------------------------------------ what holds

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        if hasattr(self, "provider"):
            paid = {
                text: count
                for text, count in self.provider.paid.items()
                if text[0] == "q" and count > 1
            }
            assert not paid, paid

    @invariant()
    def nobody_elses_batch_is_cancelled(self) -> None:
        if hasattr(self, "provider"):
            assert not [
                batch.id
                for batch in self.provider.batches
                if batch.owner != "ours" and batch.cancels
            ]

    @invariant()
    def a_cancelled_job_submits_nothing(self) -> None:
        assert self.made_when_cancelled == 0

    def results(self) -> list[Any]:
        results = list(self.job().results())
        assert [result.index for result in results] == list(range(len(self.texts)))
        for result in results:
            if result.status == "succeeded":
                assert result.output.content == f"answer to {self.texts[result.index]}"
        return results

    def teardown(self) -> None:
        try:
            if hasattr(self, "provider"):
                self._heal_and_end()
        finally:
            self.stack.close()

    def _heal_and_end(self) -> None:
        provider = self.provider
        provider.lose_create = provider.refuse_create = provider.refuse_cancel = 0
        provider.next_plan = []
        for _ in range(PASSES):
            if self.broken:
                return  # it says so, and does nothing
            if self.uncertain is not None:
                self.decide(None)
            self.submit(None)
            if self.broken:
                return
            if self.job().status(look=False).state == "done":
                break
            self.look(None)
            provider.now += 60.0
            for batch in provider.batches:
                provider.end(batch, "cancelled" if batch.state == "cancelling" else "completed")
            self.nothing_is_paid_twice()
            self.nobody_elses_batch_is_cancelled()
            self.a_cancelled_job_submits_nothing()
        else:
            raise AssertionError(f"The job does not end: {self.job().status(look=False)}")
        self._check_the_end()

    def _check_the_end(self) -> None:
        results = self.results()
        for result in results:
            was_paid = self.provider.paid[self.texts[result.index]] == 1
            assert (result.status == "succeeded") == was_paid, (result, was_paid)
            is_said = result.status in ("succeeded", "errored", "expired", "cancelled")
            assert is_said or (self.damaged and result.status == "missing"), result


def run(examples: int) -> None:
    """Run jobs of 50 steps each, the same ones every time: what lands is not decided by dice."""
    run_state_machine_as_test(
        BatchMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long
def test_a_batch_job_keeps_its_promises_whatever_happens() -> None:
    run(examples=5)


@pytest.mark.long
def test_a_batch_job_keeps_its_promises_over_ten_thousand_steps() -> None:
    run(examples=210)
