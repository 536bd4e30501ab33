"""The scene of a fleet: real processes on two "hosts" (user folders), one hidden limit, a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.limited_provider import LimitedProvider
from support.redis_server import RedisServer

_PROGRAM = Path(__file__).with_name("fleet_program.py")


class FleetScore(NamedTuple):
    """What the provider saw."""

    throughput: float  # of the limit
    refused: float  # of all requests
    worst_2s: float  # the most requests of two seconds, of what the limit allows in them
    lost: int  # calls that failed
    cpu_ms: float  # a call


class FleetScene:
    """Starts, kills and counts the processes. `members` are their processes, oldest first."""

    def __init__(self, provider: LimitedProvider, url: str | None, at_once: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fleet")
        self._words = [provider.base_url, str(at_once), *([] if url is None else [url])]
        self._hosts = 0
        self.members: list[subprocess.Popen[str]] = []

    def start(self, count: int) -> None:
        for _ in range(count):
            self._hosts += 1
            home = Path(self._folder.name) / f"host{self._hosts % 2}"
            home.mkdir(exist_ok=True)
            self.members.append(
                subprocess.Popen(
                    [sys.executable, str(_PROGRAM), *self._words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "HOME": str(home)},
                )
            )

    def kill(self, count: int) -> None:
        for _ in range(count):
            member = self.members.pop(0)
            member.kill()
            self._wait(member)

    def finish(self) -> list[dict[str, float]]:
        for member in self.members:
            assert member.stdin is not None
            member.stdin.close()
            member.stdin = None
        counts = [json.loads(self._wait(member)) for member in self.members]
        self.members = []
        return counts

    @staticmethod
    def _wait(member: subprocess.Popen[str]) -> str:
        return member.communicate(timeout=60)[0] or "{}"

    def close(self) -> None:
        self.kill(len(self.members))
        self._folder.cleanup()


@contextmanager
def fleet_scene(provider: LimitedProvider, url: str | None, at_once: int) -> Iterator[FleetScene]:
    scene = FleetScene(provider, url, at_once)
    try:
        yield scene
    finally:
        scene.close()


def run_fleet(
    redis: RedisServer | None,
    *,
    members: int = 8,
    per_s: float = 100.0,
    seconds: float = 40.0,
    at_once: int = 20,
    latency_s: float = 0.1,
    burst: float | None = None,
    acts: dict[float, Callable[[FleetScene], object]] | None = None,
) -> tuple[FleetScore, LimitedProvider]:
    """Run a fleet for so many seconds from its first request on. `acts` are done after so many seconds."""
    url = None if redis is None else redis.url
    with (
        LimitedProvider(per_s, burst=burst, latency_s=latency_s) as provider,
        fleet_scene(provider, url, at_once) as scene,
    ):
        scene.start(members)
        while not provider.accepted:
            time.sleep(0.01)
        start = provider.accepted[0]
        for at, act in sorted((acts or {}).items()):
            time.sleep(max(start + at - time.monotonic(), 0))
            act(scene)
        time.sleep(max(start + seconds - time.monotonic(), 0))
        end = time.monotonic()
        counts = scene.finish()
    return score(provider, start, end, counts), provider


def score(
    provider: LimitedProvider, start: float, end: float, counts: list[dict[str, float]]
) -> FleetScore:
    accepted, refused = provider.counts(start, end)
    windows = int((end - start) * 5) - 10
    both = sorted(provider.accepted + provider.refused)
    # The bucket is full at the start, so the first seconds may have more.
    worst = max(
        [
            0,
            *(
                sum(start + 0.2 * n <= at < start + 0.2 * n + 2 for at in both)
                for n in range(15, windows)
            ),
        ]
    )
    done = sum(one.get("done", 0) for one in counts)
    lost = sum(
        int(count) for one in counts for name, count in one.items() if name not in ("done", "cpu_s")
    )
    return FleetScore(
        throughput=accepted / (provider.per_s * (end - start)),
        refused=refused / (accepted + refused),
        worst_2s=worst / (2 * provider.per_s),
        lost=lost,
        cpu_ms=1000 * sum(one.get("cpu_s", 0) for one in counts) / max(done, 1),
    )
