"""What a job with an hour costs, and when it is done: the real planner at a simulated provider, on a virtual clock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tables import Budget, Table

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["run"]


def run(lineup: Lineup) -> list[Table]:
    sys.path.insert(
        0, str(Path(__file__).parents[1] / "tests")
    )  # the simulated provider is the tests' own
    from support.plan_scenes import SCENES, all_batch_s, all_live_s, least_cost, played

    table = Table(
        "Cost of a job with an hour, of the least possible",
        ["", "hour", "planned", "all live", "all batch"],
    )
    for scene in SCENES:
        outcome = played(scene)
        count = len(outcome.batches) or 1
        least, batch_s = least_cost(scene, count), all_batch_s(scene)
        planned = f"{outcome.cost / least:.2f}x {_end(outcome.end_s, scene.left_s)}"
        live = f"{scene.rows / least:.2f}x {_end(all_live_s(scene), scene.left_s)}"
        of_batch = (
            f"{scene.rows / 2 / least:.2f}x {_end(batch_s, scene.left_s)}"
            if scene.has_batches
            else "-"
        )
        table.rows.append([scene.what, f"{scene.left_s / 3600:.1f} h", planned, live, of_batch])
        table.budgets.append(Budget(f"plan: {scene.what}", 1.15, outcome.cost / least))
        table.budgets.append(
            Budget(
                f"plan, end of the time there is: {scene.what}", 1.0, outcome.end_s / scene.left_s
            )
        )
    table.notes = [
        "x: what somebody pays who knows how long each batch will take. In brackets: when all is done."
    ]
    return [table]


def _end(end_s: float, left_s: float) -> str:
    return f"({end_s / 3600:.1f} h{', late' if end_s > left_s else ''})"
