"""A fresh interpreter to its first answer: the time until the script's one line of output, and its CPU."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import Any

from benchmarks.answers import TEXT
from benchmarks.contenders import QUESTION
from benchmarks.lineup import Lineup, Outcome
from benchmarks.servers import pinned
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import environment

SCRIPTS = {
    "an empty script": "print('')",
    "httpx2": """
import httpx2
body = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
reply = httpx2.post(f"{ROOT}/v1/chat/completions", json=body, headers={"Authorization": "Bearer x"})
print(reply.json()["choices"][0]["message"]["content"], flush=True)
""",
    "modelwire, import only": "import modelwire; print('', flush=True)",
    "modelwire": """
from modelwire.adapters import ChatOpenAI
print(ChatOpenAI(model="m", base_url=f"{ROOT}/v1", api_key="x").invoke(QUESTION).content, flush=True)
""",
    "modelwire (ChatAnthropic)": """
from modelwire.adapters import ChatAnthropic
print(ChatAnthropic(model="m", base_url=ROOT, api_key="x", max_tokens=64).invoke(QUESTION).content, flush=True)
""",
    "modelwire, a chain": """
from modelwire import ChatPromptTemplate, StrOutputParser
from modelwire.adapters import ChatOpenAI
model = ChatOpenAI(model="m", base_url=f"{ROOT}/v1", api_key="x")
chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | model | StrOutputParser()
print(chain.invoke({"question": QUESTION}), flush=True)
""",
    "SDK": """
from openai import OpenAI
client = OpenAI(base_url=f"{ROOT}/v1", api_key="x")
answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": QUESTION}])
print(answer.choices[0].message.content, flush=True)
""",
    "langchain": """
from langchain_openai import ChatOpenAI
print(ChatOpenAI(model="m", base_url=f"{ROOT}/v1", api_key="x").invoke(QUESTION).content, flush=True)
""",
}


def run(lineup: Lineup) -> list[Table]:
    """Start each script in turn."""
    rounds = 3 if lineup.quick else 15
    outcomes = {}
    for label in SCRIPTS:
        name = re.split("[ ,]", label)[0]
        if name == "an" or (name in lineup.names and lineup.is_present(name)):
            outcomes[label] = Outcome()
    for turn in range(rounds + 1):  # the first round writes the byte code
        for label, outcome in outcomes.items():
            if outcome.failure:
                continue
            try:
                result = _start(lineup, label)
            except RuntimeError as failure:
                outcome.failure = str(failure)
            else:
                if turn > 0:
                    outcome.results.append(result)
    return [_table(outcomes, rounds)]


def _start(lineup: Lineup, label: str) -> dict[str, float]:
    python = lineup.python_of(label)
    script = f"ROOT, QUESTION = {lineup.servers.plain!r}, {QUESTION!r}\n{SCRIPTS[label]}"
    with pinned(lineup.core):
        start_s = time.perf_counter()
        process = subprocess.Popen(
            [python, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        answer = process.stdout.readline().rstrip("\n")
        wall_s = time.perf_counter() - start_s
        complaint = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if answer not in (TEXT, "") or process.returncode != 0:
        last = (complaint.strip().splitlines() or ["no answer"])[-1]
        raise RuntimeError(f"failed: {last[:100]}")
    return {"wall_ms": wall_s * 1e3, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3}


def _table(outcomes: dict[str, Outcome], rounds: int) -> Table:
    table = Table(
        f"Cold start: fresh interpreter to first answer, {rounds} interleaved runs",
        [
            "script",
            "min ms",
            "median ms",
            "x httpx2 (min)",
            "x httpx2 (median)",
            "CPU ms (min)",
            "x httpx2",
        ],
    )
    bare = outcomes.get("httpx2", Outcome())
    for label, outcome in outcomes.items():
        if outcome.failure:
            table.rows.append([label, outcome.failure])
            continue
        ratios = (
            ratio(outcome.least("wall_ms"), bare.least("wall_ms")),
            ratio(_median(outcome), _median(bare)),
        )
        cpu_ratio = ratio(outcome.least("cpu_ms"), bare.least("cpu_ms"))
        numbers: list[Any] = [outcome.least("wall_ms"), _median(outcome)]
        table.rows.append(
            [
                label,
                *(f"{number:.0f}" for number in numbers),
                *("-" if each is None else f"{each:.2f}" for each in ratios),
                f"{outcome.least('cpu_ms'):.0f}",
                "-" if cpu_ratio is None else f"{cpu_ratio:.2f}",
            ]
        )
    ours = outcomes.get("modelwire", Outcome())
    table.budgets.append(
        Budget(
            "fresh interpreter to first answer, x bare httpx2",
            1.35,
            ratio(_median(ours), _median(bare)),
        )
    )
    return table


def _median(outcome: Outcome) -> float | None:
    return outcome.middle("wall_ms")
