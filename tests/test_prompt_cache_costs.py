"""What agent runs cost with `prompt_cache`, beside every other placement of marks, at the prices of the list.

A placement is a rule that marks the same places in each call of a run: any one to four of the tools, the system prompt,
the first turn, the turn before the last answer, the two turns before that, and the newest turn; or none. All are tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from pydantic_core import to_json
from support.agent_runs import AgentRun, own_runs, recorded_runs

from modelwire.errors import InvalidArgument, ParameterWarning
from modelwire.testing import Answer, ProviderServer
from modelwire.testing.server.chat_desk import _usage
from modelwire.testing.server.prompt_cache import Cached, PromptCache
from modelwire.testing.server.requests import SeenRequest
from modelwire.usage import price_of_usage

pytest.importorskip("genai_prices", reason="`modelwire[profiles]` is not installed")

MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "openai": "gpt-5.1",
    "responses": "gpt-5.1",
    "gemini": "gemini-2.5-flash",
}
PROVIDERS = {
    "anthropic": "anthropic",
    "bedrock": "bedrock_converse",
    "openai": "openai",
    "responses": "openai",
    "gemini": "google_genai",
}
PLACES = ("tools", "system", "first", "oldest", "older", "stable", "newest")
PLACEMENTS: list[tuple[str, ...]] = [
    places for count in range(5) for places in combinations(PLACES, count)
]
MOST = Decimal("1.02")


def price(usage: Any, wire: str) -> Decimal:
    """Return the price of the input of one call."""
    only_input = {**usage, "output_tokens": 0, "total_tokens": usage["input_tokens"]}
    found = price_of_usage(only_input, MODELS[wire], provider=PROVIDERS[wire])
    assert found is not None
    return found


def our_cost(runs: Sequence[AgentRun], wire: Any, **settings: Any) -> list[Decimal]:
    """Return the price of each run over HTTP. Every call of it must be answered."""
    costs = []
    for run in runs:
        with ProviderServer(default="ok") as server:
            model = server.model(wire, model=MODELS[wire], **settings)
            answers = [model.invoke(call, **_tools(run)) for call in run.calls()]
            assert server.counts.connections > 0
            assert {seen.status for seen in server.requests} == {200}
        costs.append(sum((price(one.usage_metadata, wire) for one in answers), Decimal(0)))
    return costs


def _tools(run: AgentRun) -> dict[str, Any]:
    return {"tools": run.tools} if run.tools else {}


def marked_body(body: dict[str, Any], wire: str, placement: Sequence[str]) -> dict[str, Any]:
    """Return a body with marks at the places that a placement names, where it has them."""
    body = {**body, "messages": [dict(turn) for turn in body["messages"]]}
    users = [turn for turn in body["messages"] if turn["role"] == "user"]
    turns = dict(zip(("newest", "stable", "older", "oldest"), reversed(users), strict=False))
    turns["first"] = users[0]
    for place in placement:
        if place == "tools":
            config = body["toolConfig"] = dict(body.get("toolConfig") or {})
            holder, key = (body, "tools") if wire == "anthropic" else (config, "tools")
        elif place == "system":
            holder, key = body, "system"
        else:
            holder, key = turns.get(place, {}), "content"
        if holder.get(key):
            holder[key] = with_mark(holder[key], wire)
    if not body.get("toolConfig"):
        body.pop("toolConfig", None)
    return body


def with_mark(content: Any, wire: str) -> list[Any]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    if wire == "anthropic":
        blocks[-1] = {**blocks[-1], "cache_control": {"type": "ephemeral"}}
    elif "cachePoint" not in blocks[-1]:
        blocks.append({"cachePoint": {"type": "default"}})
    return blocks


def cost_of_placement(
    bodies: Sequence[dict[str, Any]], wire: str, placement: Sequence[str]
) -> Decimal:
    """Return the price of a run whose calls are marked by a rule, by the same cache as the server's."""
    cache, cost = PromptCache(), Decimal(0)
    for second, body in enumerate(bodies):
        marked = {**marked_body(body, wire, placement), "model": MODELS[wire]}
        request = SeenRequest("POST", "/", {}, to_json(marked))
        request.wire = wire
        cached = cache.look_up(wire, request, float(second))
        assert isinstance(cached, Cached), cached
        cache.store(cached, float(second))
        request.prompt_cache = cached
        usage = _usage(Answer("ok"), request)
        details = {
            "cache_read": usage.cached_tokens,
            "cache_creation": usage.written_tokens,
            "ephemeral_5m_input_tokens": usage.written_tokens,
        }
        counts = {
            "input_tokens": usage.input_tokens,
            "output_tokens": 0,
            "total_tokens": usage.input_tokens,
            "input_token_details": details,
        }
        cost += price(counts, wire)
    return cost


def bodies_of(run: AgentRun, wire: Any) -> list[dict[str, Any]]:
    with ProviderServer() as server:
        model = server.model(wire, model=MODELS[wire])
        return [
            dict(model.build_request(call, **_tools(run)).body)  # type: ignore[attr-defined]
            for call in run.calls()
        ]


def costs_of_all(
    runs: Sequence[AgentRun], wire: str, placements: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], list[Decimal]]:
    bodies = [bodies_of(run, wire) for run in runs]
    return {
        placement: [cost_of_placement(calls, wire, placement) for calls in bodies]
        for placement in placements
    }


def sayable(runs: Sequence[AgentRun], wire: Any) -> list[AgentRun]:
    """Return the runs that the wire can send."""
    fitting = []
    for run in runs:
        try:
            bodies_of(run, wire)
        except (InvalidArgument, ParameterWarning):
            continue
        fitting.append(run)
    return fitting


@pytest.mark.long
@pytest.mark.parametrize("wire", ["anthropic", "bedrock"])
def test_our_placement_is_as_cheap_as_the_best_of_some_on_a_run_with_parallel_calls(
    wire: str,
) -> None:
    run = own_runs()[2:]
    some = [(), ("newest",), ("system", "newest"), ("tools", "system", "stable", "newest")]
    found = costs_of_all(run, wire, some)
    (ours,) = our_cost(run, wire, prompt_cache=True)
    best = min(costs[0] for costs in found.values())
    assert ours <= MOST * best
    assert ours < found[("system", "newest")][0] / 2  # the mark on the last stable turn is needed
    assert ours < found[()][0] / 4


@pytest.mark.long
@pytest.mark.parametrize("wire", ["anthropic", "bedrock"])
def test_30_runs_cost_at_most_2_percent_more_than_the_best_placement(wire: str) -> None:
    own = own_runs()
    runs = sayable([*own, *recorded_runs(60)], wire)[:30]
    assert len(runs) == 30
    ours = our_cost(runs, wire, prompt_cache=True)
    found = costs_of_all(runs, wire, PLACEMENTS)
    best = min(found, key=lambda placement: sum(found[placement]))
    print(
        f"{wire}: {len(runs)} runs, ours {sum(ours):.4f}, best {sum(found[best]):.4f} by {best}, "
        f"without marks {sum(found[()]):.4f}"
    )
    assert sum(ours) <= MOST * sum(found[best])
    for at in range(len(own)):  # each of the long ones, beside the best for it alone
        assert ours[at] <= MOST * min(costs[at] for costs in found.values())


@pytest.mark.long
@pytest.mark.parametrize("wire", ["openai", "responses", "gemini"])
def test_30_runs_cost_no_more_where_the_provider_places_the_marks(wire: str) -> None:
    runs = sayable([*own_runs(), *recorded_runs(60)], wire)[:30]
    assert len(runs) == 30
    ours, plain = our_cost(runs, wire, prompt_cache=True), our_cost(runs, wire)
    print(f"{wire}: {len(runs)} runs, ours {sum(ours):.4f}, without {sum(plain):.4f}")
    assert sum(ours) <= MOST * sum(plain)
