"""One process of a fleet: it calls a model, so many calls at a time, until its input closes, and prints its counts.

python fleet_program.py ADDRESS AT_ONCE [REDIS]
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter

import modelwire
from modelwire.adapters import ChatOpenAI
from modelwire.errors import ModelwireError


async def main(address: str, at_once: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    is_over, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(is_over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    model = ChatOpenAI(model="m", base_url=address, api_key="k")

    async def worker() -> None:
        while not is_over.is_set():
            try:
                await model.ainvoke("hi", {"timeout": 60})
                counts["done"] += 1
            except ModelwireError as exc:
                counts[type(exc).__name__] += 1

    tasks = [asyncio.create_task(worker()) for _ in range(at_once)]
    await is_over.wait()
    await asyncio.wait(tasks, timeout=1.0)
    for task in tasks:
        task.cancel()
    return counts


if __name__ == "__main__":
    if len(sys.argv) > 3:
        modelwire.shared(sys.argv[3])
    started = time.process_time()
    done = asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    print(json.dumps({**done, "cpu_s": time.process_time() - started}))
