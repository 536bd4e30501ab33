"""Eight processes with one key and one hidden limit, which they share over a real Redis; and what sharing costs.

In the middle three processes are killed and three new ones start; later the Redis stops for five seconds and comes back
empty. The provider is a token bucket on loopback. The calls and the server of the scene are the tests' own.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tables import Budget, Table

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["run"]

_PER_S = 100.0


def run(lineup: Lineup) -> list[Table]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.redis_server import redis_binary

    if redis_binary() is None:
        table = Table("A fleet of processes", [""])
        table.notes = ["There is no redis-server: install `redis-server` or `valkey-server`."]
        return [table]
    return [_scene(90.0), _cost(3 if lineup.quick else 6)]


def _scene(seconds: float) -> Table:
    from support.fleet_scene import FleetScene, run_fleet
    from support.redis_server import redis_server

    title = f"8 processes, 20 calls at a time each, {_PER_S:g} requests a second for {seconds:g} s"
    table = Table(title, ["", "throughput", "refused", "most in 2 s", "lost"])
    with redis_server() as redis:

        def kill(scene: FleetScene) -> None:
            scene.kill(3)

        def start(scene: FleetScene) -> None:
            scene.start(3)

        trouble = {
            20.0: kill,
            25.0: start,
            45.0: lambda _: redis.stop(),
            50.0: lambda _: redis.start(),
        }
        for what, server, acts in (
            ("shared, 3 killed, Redis stopped", redis, trouble),
            ("each alone, 3 killed", None, {20.0: kill, 25.0: start}),
        ):
            score, _ = run_fleet(server, per_s=_PER_S, seconds=seconds, acts=acts)
            table.rows.append(
                [
                    what,
                    f"{score.throughput:.3f}x",
                    f"{score.refused:.2%}",
                    f"{score.worst_2s:.2f}x",
                    str(score.lost),
                ]
            )
            if server is not None:
                table.budgets = [
                    Budget("fleet: refused", 1.0, score.refused * 100, unit="%"),
                    Budget("fleet: time against the limit", 1 / 0.97, 1 / score.throughput),
                    Budget("fleet: lost", 0, score.lost, unit=""),
                ]
    table.notes = [
        "x: of the limit; the provider's bucket, which holds the requests of a second, is full at the start.",
        "most in 2 s: the most requests that came in two seconds, from the third second on.",
    ]
    return table


def _cost(rounds: int) -> Table:
    from support.fleet_scene import run_fleet
    from support.redis_server import redis_server

    shared_ms, alone_ms = [], []
    with redis_server() as redis:
        for _ in range(rounds):
            for server, costs in ((redis, shared_ms), (None, alone_ms)):
                score, _ = run_fleet(
                    server, members=1, per_s=100_000.0, seconds=4.0, at_once=10, latency_s=0.02
                )
                costs.append(score.cpu_ms)
    shared, alone = statistics.median(shared_ms), statistics.median(alone_ms)
    table = Table(f"CPU of a call, the median of {rounds} interleaved runs", ["", "ms"])
    table.rows = [["without", f"{alone:.3f}"], ["shared", f"{shared:.3f}"]]
    table.budgets = [Budget("fleet: CPU of a call, of that without", 1.15, shared / alone)]
    return table
