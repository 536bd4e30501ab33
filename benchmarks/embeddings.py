"""CPU of a text that becomes a vector: `embed_documents` against the SDK, langchain-openai and a bare loop.

The bare loop posts the texts with httpx2, parses the answer with `json` and decodes base64 to lists of floats; there is
no cheaper way that returns the same. `langchain` is measured twice: as its texts leave it without its tiktoken
splitting, and with it, where tiktoken has its vocabulary on this machine.
"""

from __future__ import annotations

import json
import time
from array import array
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from benchmarks.contenders import CONTENDERS, NotInstalled, imported
from benchmarks.lineup import Lineup, Outcome, failures
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Session

DIMENSIONS = 1_536
SIZES = (1, 16, 256, 2_048)
TEXT = "Round and generous, with ripe plums and a little chocolate, glass number {n} of a long evening."
Embed = Callable[[list[str]], list[list[float]]]


def run(lineup: Lineup) -> list[Table]:
    """Measure texts by the size of a request."""
    rounds = 2 if lineup.quick else 7
    root = f"{lineup.servers.loopback}/embed-{DIMENSIONS}"
    names = [name for name in lineup.names if name in _MAKERS]
    found: dict[str, list[Outcome]] = {}
    for size in SIZES:
        for splits in (False, True):
            outcomes = lineup.in_turn(
                "embeddings.cpu_of_a_text",
                rounds=rounds,
                names=[name for name in names if not splits or name in _SPLITTING],
                root=root,
                size=size,
                splits=splits,
            )
            for name, outcome in outcomes.items():
                label = f"{name}, splitting" if splits else name
                found.setdefault(label, []).append(outcome)
    return [_table(found, rounds)]


def cpu_of_a_text(session: Session, *, root: str, size: int, splits: bool) -> float:
    """Return the CPU seconds of one text, with `size` texts in a request."""
    key = (root, f"splits={splits}")
    kept: dict[Any, Embed] = session.__dict__.setdefault("embedders", {})
    if key not in kept:
        kept[key] = _MAKERS[_name_of(session)](f"{root}/v1", splits)
    embed = kept[key]
    texts = [TEXT.format(n=n) for n in range(size)]
    vectors = embed(texts)
    if len(vectors) != size or {len(vector) for vector in vectors} != {DIMENSIONS}:
        raise ValueError("a wrong answer")
    calls = max(2, 512 // size)
    before_s = time.process_time()
    for _ in range(calls):
        embed(texts)
    return (time.process_time() - before_s) / calls / size


def _name_of(session: Session) -> str:
    return next(name for name, kind in CONTENDERS.items() if kind is session.kind)


def _bare(base_url: str, splits: bool) -> Embed:
    import httpx2

    client = httpx2.Client(timeout=600.0)

    def embed(texts: list[str]) -> list[list[float]]:
        body = {"input": texts, "model": "text-embedding-3-small", "encoding_format": "base64"}
        response = client.post(f"{base_url}/embeddings", json=body)
        vectors = []
        for item in json.loads(response.content)["data"]:
            numbers = array("f")
            numbers.frombytes(a2b_base64(item["embedding"]))
            vectors.append(numbers.tolist())
        return vectors

    return embed


def _modelwire(base_url: str, splits: bool) -> Embed:
    from modelwire.embeddings import OpenAIEmbeddings

    model = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=base_url,
        api_key="k",
        check_embedding_ctx_length=splits,
    )
    return model.embed_documents


def _sdk(base_url: str, splits: bool) -> Embed:
    import openai

    client = openai.OpenAI(base_url=base_url, api_key="k", max_retries=0)

    def embed(texts: list[str]) -> list[list[float]]:
        found = client.embeddings.create(input=texts, model="text-embedding-3-small")
        return [item.embedding for item in found.data]

    return embed


def _langchain(base_url: str, splits: bool) -> Embed:
    model = imported("langchain_openai", "OpenAIEmbeddings")(
        model="text-embedding-3-small",
        base_url=base_url,
        api_key="k",
        chunk_size=2_048,
        check_embedding_ctx_length=splits,
    )
    if splits:
        encoding_for_model = imported("tiktoken", "encoding_for_model")
        try:
            encoding_for_model("text-embedding-3-small")
        except Exception as exc:
            raise NotInstalled("tiktoken has no vocabulary here") from exc
    embed: Embed = model.embed_documents
    return embed


_MAKERS: dict[str, Callable[[str, bool], Embed]] = {
    "httpx2": _bare,
    "modelwire": _modelwire,
    "SDK": _sdk,
    "langchain": _langchain,
}
# These split texts that are too long, or at least look for them, unless they are told not to.
_SPLITTING = ("modelwire", "langchain")


def _table(found: dict[str, list[Outcome]], rounds: int) -> Table:
    table = Table(
        f"Embeddings of {DIMENSIONS:,} numbers: CPU us a text by the texts of a request, {rounds} interleaved rounds",
        [
            "contender",
            *(f"{size:,}" for size in SIZES),
            *(f"x langchain, {size:,}" for size in SIZES),
        ],
    )
    peers = found.get("langchain", [Outcome() for _ in SIZES])
    for label, outcomes in found.items():
        shown = [_shown(outcome) for outcome in outcomes]
        against = [
            ratio(outcome.least(), peer.least())
            for outcome, peer in zip(outcomes, peers, strict=True)
        ]
        table.rows.append([label, *shown, *("-" if x is None else f"{x:.2f}" for x in against)])
    by_size = [
        {label: outcomes[place] for label, outcomes in found.items()} for place in range(len(SIZES))
    ]
    table.notes += failures(by_size)
    for size, outcomes_of in zip(SIZES, by_size, strict=True):
        ours = outcomes_of.get("modelwire", Outcome()).least()
        theirs = outcomes_of.get("langchain", Outcome()).least()
        what = f"CPU of a text, {size:,} in a request, x langchain-openai"
        table.budgets.append(Budget(what, 0.3, ratio(ours, theirs)))
    return table


def _shown(outcome: Outcome) -> str:
    least_s = outcome.least()
    if least_s is None:
        return outcome.excuse
    return f"{least_s * 1e6:.1f}"
