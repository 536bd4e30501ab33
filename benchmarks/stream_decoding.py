"""CPU of one streamed chunk when 2,000 come in one body: nothing to wait for, all of it is decoding."""

from __future__ import annotations

import time

from benchmarks.answers import WORD
from benchmarks.lineup import Lineup, Outcome, failures
from benchmarks.servers import STREAM_CHUNKS
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Session

_WAYS = {
    "astream": "read_astream",
    "chain astream": "read_chain",
    "stream": "read_stream",
    "events": "read_events",
}


def run(lineup: Lineup) -> list[Table]:
    """Measure both wires, every way of reading."""
    rounds = 2 if lineup.quick else 9
    tables = []
    for wire in ("openai", "anthropic"):
        ways = {
            way: lineup.in_turn(
                "stream_decoding.read_body",
                rounds=rounds,
                root=lineup.servers.sse,
                wire=wire,
                method=method,
            )
            for way, method in _WAYS.items()
        }
        tables.append(_table(lineup, wire, ways, rounds))
    return tables


def read_body(session: Session, *, root: str, wire: str, method: str) -> float:
    """Read one body; give CPU microseconds a chunk."""
    contender = session.contender(root, wire)
    texts: list[str] = []
    read = getattr(contender, method)
    cpu_s = time.process_time()
    if method == "read_stream":
        read(texts.append)
    else:
        session.runner.run(read(texts.append))
    cpu_s = time.process_time() - cpu_s
    words = [count for text in texts if (count := _words(text))]
    if words != [1] * STREAM_CHUNKS:  # whoever joins chunks does less work than it is measured for
        raise ValueError(
            f"{sum(words)} words in {len(words)} chunks, not {STREAM_CHUNKS} in as many"
        )
    return cpu_s / STREAM_CHUNKS * 1e6


def _words(content: object) -> int:
    """Count, also where the content of an Anthropic chunk is a list of blocks."""
    text = (
        content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
    )  # type: ignore[attr-defined]
    return len(text) // len(WORD)


def _table(lineup: Lineup, wire: str, ways: dict[str, dict[str, Outcome]], rounds: int) -> Table:
    columns = ["contender"]
    for way in ways:
        columns += [f"{way} us", "x httpx2"]
    title = f"Stream decoding, {wire} wire: CPU a chunk, {STREAM_CHUNKS:,} chunks in one body, {rounds} rounds"
    table = Table(title, columns)
    for name in lineup.names:
        cells = [name]
        for way, outcomes in ways.items():
            outcome = outcomes[name]
            if outcome.failure:
                cells += [outcome.excuse, ""]
                continue
            against = ratio(outcome.least(), _bare(ways, way))
            cells += [f"{outcome.least():.2f}", "-" if against is None else f"{against:.2f}"]
        table.rows.append(cells)
    table.notes += failures(ways.values())
    table.notes.append(
        "x httpx2: against the bare line-and-parse loop of the same colour; least of the rounds"
    )
    table.budgets += _budgets(wire, ways)
    return table


def _budgets(wire: str, ways: dict[str, dict[str, Outcome]]) -> list[Budget]:
    ours = {way: outcomes.get("modelwire", Outcome()).least() for way, outcomes in ways.items()}
    bare = _bare(ways, "astream")
    return [
        Budget(
            f"astream, CPU a chunk, x bare httpx2 ({wire} wire)", 2, ratio(ours["astream"], bare)
        ),
        Budget(
            f"prompt | model | parser astream, the same ({wire} wire)",
            2.2,
            ratio(ours["chain astream"], bare),
        ),
        Budget(
            f"astream_events, x astream ({wire} wire)", 2, ratio(ours["events"], ours["astream"])
        ),
    ]


def _bare(ways: dict[str, dict[str, Outcome]], way: str) -> float | None:
    outcomes = ways["stream" if way == "stream" else "astream"]
    return outcomes.get("httpx2", Outcome()).least()
