"""Runs the rows of a job in the workers of a Ray cluster; the job itself, its store and its output
stay in this process.

Rows are sent in portions, each a `Dataset.map_batches` with the chain in stateful async actors.
After a portion comes the next, with all the rows that have arrived since. Workers read environment
variables (above all keys, which a pickled model does not contain) from their own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable
from importlib import import_module
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic_core import from_json

from modelwire import ext
from modelwire.aliases import JSON
from modelwire.errors import JobStopped, MissingDependency, ModelwireError
from modelwire.jobs.row_caller import RowCaller, stopped
from modelwire.jobs.row_records import exact_json
from modelwire.jobs.tagged_values import tagged, untagged
from modelwire.sharing import shared, shared_state

if TYPE_CHECKING:
    from modelwire.runnables import Runnable, RunnableConfig

# A worker gets this many rows at a time; the slowest of them delays the others.
_BATCH_ROWS = 25
# A worker runs this many batches at a time.
_BATCHES_AT_ONCE = 8
# A portion is sent this long after its first row, so that all places of the window have a row
# again.
_GATHER_S = 0.2
# A worker reports that it is alive this often.
_BEAT_S = 1.0
# A worker that has not reported for this long is treated as lost.
LOST_AFTER_S = 4.0


def portion(*, with_max_cost: bool) -> int:
    """Return how many rows are sent to Ray at a time. Ray takes seconds to start a portion, so it should be large."""
    if with_max_cost:
        return 1_000  # The cost of every row that was sent may be spent.
    return 10_000


def require_ray() -> Any:
    """Return ray, with its data part imported."""
    try:
        import_module("ray.data")
    except ImportError as exc:
        raise MissingDependency(
            "`engine=\"ray\"` needs Ray: `pip install 'modelwire[ray]'`."
        ) from exc
    return import_module("ray")


class Shares:
    """Counts the workers of a job, so that each uses its share of the rate limit. It is an actor of Ray.

    Each worker calls `beat` every second.
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._is_over = False

    def beat(self, worker: str, now: float | None = None) -> tuple[int, bool]:
        """Record that a worker is alive; return the number of live workers, and whether the job is to end."""
        if now is None:
            now = monotonic()
        seen = self._seen
        seen[worker] = now
        for name, at in list(seen.items()):
            if now - at >= LOST_AFTER_S:
                del seen[name]
        return len(seen), self._is_over

    def leave_all(self) -> None:
        """Remove all workers, since Ray ends them with their portion."""
        self._seen.clear()

    def end(self) -> None:
        """Make all workers start no more rows."""
        self._is_over = True


class _Worker:
    """Calls the chain for batches of rows inside an actor of Ray's."""

    def __init__(
        self,
        chain: Runnable,
        config: RunnableConfig,
        shares: Any,
        fleet: tuple[str, str] | None = None,
    ) -> None:
        if fleet is not None:
            url, prefix = fleet
            shared(url, prefix=prefix)
        self._caller = RowCaller(chain, config)
        self._shares = shares
        self._name = uuid4().hex
        self._beat()
        threading.Thread(target=self._beat_for_ever, daemon=True).start()

    def _beat(self) -> None:
        count, is_over = require_ray().get(self._shares.beat.remote(self._name))
        ext.divide_limits(count, monotonic())
        if is_over:
            self._caller.wind_up()

    def _beat_for_ever(self) -> None:
        errors: Any = require_ray().exceptions.RayError
        with contextlib.suppress(errors):
            # The actor that counts the workers ends with the job.
            while True:
                sleep(_BEAT_S)
                self._beat()

    async def __call__(self, batch: Any) -> AsyncIterator[Any]:
        rows = batch.to_pylist()
        outcomes = await asyncio.gather(
            *(asyncio.create_task(self._answer(row["row"])) for row in rows)
        )
        pa: Any = import_module("pyarrow")
        yield pa.table(
            {"number": [row["number"] for row in rows], "outcome": pa.array(outcomes, pa.binary())}
        )

    async def _answer(self, row_json: bytes) -> bytes:
        try:
            about, failure_scope = await self._caller.ask(untagged(from_json(row_json)))
        except asyncio.CancelledError:
            if not self._caller.is_over:
                raise
            # The row was not started, or was cancelled, because the job is to end.
            return exact_json({})
        except JobStopped as exc:
            return exact_json({"stop": str(exc)})
        return exact_json({"about": about, "failure_scope": failure_scope})


class RayCaller(RowCaller):
    """Sends rows to Ray, a portion at a time. `ask` must be called on a single event loop."""

    def __init__(self, chain: Runnable, config: RunnableConfig, *, workers: int | None) -> None:
        super().__init__(chain, config)
        self._ray = require_ray()
        self._workers = workers
        self._shares: Any = None
        self._pending: dict[int, asyncio.Future[tuple[JSON, str]]] = {}
        self._count = 0
        self._waiting: list[JSON] = []
        self._is_busy = self._is_closed = False

    async def ask(self, values: Any) -> tuple[JSON, str]:
        """Send a row with the next portion; return its facts and the scope of its failure (see `RowCaller.ask`)."""
        loop = asyncio.get_running_loop()
        number = self._count
        self._count += 1
        answer: asyncio.Future[tuple[JSON, str]] = loop.create_future()
        self._pending[number] = answer
        self._waiting.append({"number": number, "row": exact_json(tagged(values))})
        if not self._is_busy:
            self._is_busy = True
            loop.call_later(_GATHER_S, self._hand_over, loop)
        return await answer

    def wind_up(self) -> int:
        super().wind_up()
        if self._shares is not None:
            self._shares.end.remote()
        return len(self._pending)

    def close(self) -> None:
        self._is_closed = True

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        rows = self._waiting
        self._waiting = []
        threading.Thread(target=self._work_off, args=(rows, loop), daemon=True).start()

    def _work_off(self, rows: list[JSON], loop: asyncio.AbstractEventLoop) -> None:
        """Run one portion on Ray and pass its results to the event loop. Called in a thread of its own."""
        failure: JobStopped | None = None
        try:
            dataset = self._dataset(rows)
            batches = dataset.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            )
            for batch in batches:
                _tell(loop, self._take, batch.to_pylist())
                if self._is_closed:
                    return
        except Exception as exc:  # noqa: BLE001 - of Ray, or of pickling: it ends the job
            reason = str(exc).strip()[-500:]
            failure = stopped(f"Ray has failed: {type(exc).__name__}: {reason}")
            failure.__cause__ = exc
        _tell(loop, self._end_portion, [row["number"] for row in rows], failure, loop)

    def _dataset(self, rows: list[JSON]) -> Any:
        ray = self._ray
        if self._shares is None:
            if not ray.is_initialized():
                ray.init()
            self._shares = ray.remote(Shares).options(num_cpus=0).remote()
        self._shares.leave_all.remote()
        cpus = int(ray.cluster_resources().get("CPU", 1))
        most = self._workers or max(1, cpus)
        blocks = -(-len(rows) // _BATCH_ROWS)
        if self._workers:
            size = {"size": min(most, blocks)}
        else:
            size = {"min_size": 1, "max_size": min(most, blocks)}
        pool = ray.data.ActorPoolStrategy(
            **size,
            max_tasks_in_flight_per_actor=_BATCHES_AT_ONCE,
            max_concurrent_calls_per_actor=_BATCHES_AT_ONCE,
        )
        state = shared_state()
        fleet = None
        if state is not None:
            fleet = state.settings
        dataset = ray.data.from_items(rows, override_num_blocks=blocks)
        dataset = dataset.map_batches(
            _Worker,
            fn_constructor_args=(self.chain, self.config, self._shares, fleet),
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=1,
        )
        dataset.context.enable_progress_bars = False
        return dataset

    def _take(self, results: Iterable[JSON]) -> None:
        for result in results:
            answer = self._pending.pop(result["number"], None)
            if answer is None or answer.done():
                continue
            outcome = from_json(result["outcome"])
            if "about" in outcome:
                answer.set_result((outcome["about"], outcome["failure_scope"]))
            elif "stop" in outcome:
                answer.set_exception(JobStopped(outcome["stop"]))
            else:
                answer.cancel()  # The row was not started, because the job is to end.

    def _end_portion(
        self,
        numbers: Iterable[int],
        failure: ModelwireError | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        for number in numbers:
            answer = self._pending.pop(number, None)
            if answer is not None and not answer.done():
                answer.set_exception(
                    failure or stopped("Ray has ended without an answer to some rows")
                )
        self._is_busy = bool(self._waiting)
        if self._waiting:
            loop.call_later(_GATHER_S, self._hand_over, loop)


def _tell(loop: asyncio.AbstractEventLoop, act: Any, *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):
        # The loop is closed, so the result is no longer needed.
        loop.call_soon_threadsafe(act, *arguments)
