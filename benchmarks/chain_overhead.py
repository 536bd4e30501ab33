"""CPU that `prompt | model | parser` adds to the model's own `ainvoke`, when nobody listens."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.lineup import Lineup, Outcome
from benchmarks.tables import Budget, Table
from benchmarks.worker import Session

BUDGET_US = 60.0


def run(lineup: Lineup) -> list[Table]:
    """Measure the two libraries that have chains."""
    rounds, calls = (2, 200) if lineup.quick else (9, 400)
    names = [name for name in ("modelwire", "langchain") if name in lineup.names]
    task = "chain_overhead.model_and_chain"
    outcomes = lineup.in_turn(
        task, rounds=rounds, names=names, root=lineup.servers.plain, calls=calls
    )
    table = Table(
        f"Chain overhead: CPU a call, {rounds} rounds",
        ["contender", "model us", "chain us", "added us"],
    )
    for name, outcome in outcomes.items():
        if outcome.failure:
            table.rows.append([name, outcome.excuse])
            continue
        numbers = (
            outcome.middle("model_us"),
            outcome.middle("chain_us"),
            outcome.middle("added_us"),
        )
        table.rows.append(
            [name, *("-" if number is None else f"{number:.0f}" for number in numbers)]
        )
    table.notes.append("medians; a round measures both, one straight after the other")
    added_us = outcomes.get("modelwire", Outcome()).middle("added_us")
    table.budgets.append(
        Budget("a chain adds to its model's `ainvoke`", BUDGET_US, added_us, unit=" us")
    )
    return [table]


def model_and_chain(session: Session, *, root: str, calls: int) -> dict[str, float]:
    """Call the model alone, then in its chain, one call after the other."""
    contender = session.contender(root)
    return session.runner.run(_both(contender, calls))


async def _both(contender: Any, calls: int) -> dict[str, float]:
    spent_us = []
    for call in (contender.acall, contender.acall_chain):
        await call()
        cpu_s = time.process_time()
        for _ in range(calls):
            await call()
        spent_us.append((time.process_time() - cpu_s) / calls * 1e6)
    model_us, chain_us = spent_us
    return {"model_us": model_us, "chain_us": chain_us, "added_us": chain_us - model_us}
