"""Pools against the test server: where calls go, what is said of it, and what happens when parts fail."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from modelwire import budget, pool, run_tools
from modelwire.errors import (
    AllDeploymentsFailed,
    AuthenticationError,
    BadRequest,
    InvalidArgument,
    InvalidType,
    RateLimited,
    StreamInterrupted,
    Timeout,
)
from modelwire.pools import PoolChatModel
from modelwire.testing import Answer, Fault, Limits, ProviderServer, faults

Servers = tuple[ProviderServer, ProviderServer]


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ProviderServer(default="from a") as a, ProviderServer(default="from b") as b:
        yield a, b


def both(servers: Servers, **options: Any) -> PoolChatModel:
    a, b = servers
    options = {"prefer": "first", **options}
    return pool({"a": a.model(), "b": b.model("anthropic")}, **options)


def served(servers: Servers) -> tuple[int, int]:
    return len(servers[0].requests), len(servers[1].requests)


def test_an_answer_names_its_deployment(servers: Servers) -> None:
    answer = both(servers).invoke("hi")
    assert (answer.text, answer.response_metadata["deployment"]) == ("from a", "a")


def test_every_sync_way_to_call_answers(servers: Servers) -> None:
    model = both(servers)
    assert "".join(chunk.text for chunk in model.stream("hi")) == "from a"
    assert [one.text for one in model.batch(["hi", "ho"])] == ["from a"] * 2
    assert model.generate([model._messages("hi")]).generations[0][0].text == "from a"


def test_every_async_way_to_call_answers(servers: Servers) -> None:
    model = both(servers)

    async def main() -> None:
        assert (await model.ainvoke("hi")).text == "from a"
        assert "".join([chunk.text async for chunk in model.astream("hi")]) == "from a"
        assert [one.text for one in await model.abatch(["hi", "ho"])] == ["from a"] * 2
        result = await model.agenerate([model._messages("hi")])
        assert result.generations[0][0].text == "from a"

    asyncio.run(main())


def test_the_first_chunk_names_the_deployment_and_the_sum_has_it_once(servers: Servers) -> None:
    chunks = list(both(servers).stream("hi"))
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert total.response_metadata["deployment"] == "a"


def test_events_have_the_runs_of_the_deployment(servers: Servers) -> None:
    async def main() -> list[Any]:
        return [event async for event in both(servers).astream_events("hi", version="v2")]

    events = asyncio.run(main())
    assert [event["event"] for event in events if "start" in event["event"]] == [
        "on_chat_model_start"
    ]
    assert events[0]["metadata"]["deployment"] == "a"


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(429),
        faults.status(503),
        faults.status(500),
        faults.status(401),
        faults.status(404),
    ],
    ids=["429", "503", "500", "401", "404"],
)
def test_a_failed_call_goes_elsewhere_at_once(servers: Servers, fault: Fault) -> None:
    servers[0].say(fault)
    answer = both(servers).invoke("hi")
    assert answer.response_metadata["deployment"] == "b"
    assert served(servers) == (1, 1)


def test_a_failed_async_call_and_stream_go_elsewhere(servers: Servers) -> None:
    servers[0].say(faults.status(429), faults.status(429))
    model = both(servers)

    async def main() -> None:
        assert (await model.ainvoke("hi")).text == "from b"
        assert "".join([chunk.text async for chunk in model.astream("hi")]) == "from b"

    asyncio.run(main())


def test_a_request_that_no_deployment_can_take_is_sent_once_and_names_the_deployment(
    servers: Servers,
) -> None:
    servers[0].say(faults.status(400))
    with pytest.raises(BadRequest, match="The deployment is `a`") as caught:
        both(servers).invoke("hi")
    assert caught.value.deployment == "a"
    assert served(servers) == (1, 0)


def test_a_revoked_key_takes_its_deployment_out(servers: Servers) -> None:
    servers[0].default = faults.status(401)
    model = both(servers)
    for _ in range(5):
        assert model.invoke("hi").text == "from b"
    assert served(servers) == (1, 5)


def test_when_all_fail_for_good_the_error_names_each(servers: Servers) -> None:
    servers[0].default = faults.status(401)
    servers[1].default = faults.status(404)
    with pytest.raises(
        AllDeploymentsFailed, match=r"a: AuthenticationError(.|\n)*b: NotFound"
    ) as caught:
        both(servers).invoke("hi")
    assert isinstance(caught.value.errors["a"], AuthenticationError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert list(again.errors) == ["a", "b"]


def test_a_refused_pool_waits_for_the_first_that_can(servers: Servers) -> None:
    servers[0].say(faults.status(429), faults.status(429))
    servers[1].say(faults.status(429), faults.status(429))
    assert both(servers).invoke("hi").text in ("from a", "from b")


def test_a_deadline_ends_the_wait(servers: Servers) -> None:
    for server in servers:
        server.default = faults.status(429, retry_after=30)
    with pytest.raises(Timeout):
        both(servers).invoke("hi", {"timeout": 0.5})


@pytest.mark.parametrize("statuses", [(500, 500), (503, 503), (500, 503), (401, 503)])
def test_an_outage_of_all_ends_after_max_wait(servers: Servers, statuses: tuple[int, int]) -> None:
    for server, status in zip(servers, statuses, strict=True):
        server.default = faults.status(status)
    with pytest.raises(AllDeploymentsFailed, match=r"b: (ServerError|Overloaded)"):
        both(servers, max_wait=0.2).invoke("hi")


def test_a_cut_stream_is_not_begun_again_elsewhere(servers: Servers) -> None:
    servers[0].say(faults.cut(after_events=2))
    with pytest.raises(StreamInterrupted) as caught:
        list(both(servers).stream("hi"))
    assert caught.value.deployment == "a"
    assert served(servers) == (1, 0)


def test_weights_divide_the_calls(servers: Servers) -> None:
    a, b = servers
    model = pool([(a.model(), 3), (b.model("anthropic"), 1)])
    model.batch(["hi"] * 80, {"max_concurrency": 4})
    assert 50 <= len(a.requests) <= 70


def test_many_calls_are_spread_over_the_limits() -> None:
    limits = Limits(rpm=1200, window_s=1, headers="none")
    with ProviderServer(limits=limits) as a, ProviderServer(limits=limits) as b:
        model = pool({"a": a.model(), "b": b.model()})
        answers = model.batch(["hi"] * 100)
        names = {answer.response_metadata["deployment"] for answer in answers}
        assert names == {"a", "b"}
        assert len(answers) == 100


def test_threads_share_a_pool(servers: Servers) -> None:
    model = both(servers, prefer="fastest")
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(model.invoke("hi").text)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 20
    assert all(one.in_flight == 0 for one in model._scheduler.deployments)


def test_tools_are_bound_in_each_providers_form(servers: Servers) -> None:
    def in_stock(thing: str) -> int:
        """Return how many pieces are in stock."""
        return 3

    servers[0].say(faults.status(429))
    both(servers).bind_tools([in_stock]).invoke("hi")
    sent = [server.requests[0].body["tools"][0] for server in servers]
    assert sent[0]["function"]["name"] == "in_stock"
    assert sent[1]["name"] == "in_stock"
    assert run_tools(both(servers), "hi", [in_stock])[-1].text


class City(BaseModel):
    name: str
    people: int


def test_structured_output_comes_from_any_deployment(servers: Servers) -> None:
    for server in servers:
        server.default = City(name="Bern", people=134_000).model_dump_json()
    structured = both(servers).with_structured_output(City)
    assert structured.invoke("hi") == City(name="Bern", people=134_000)
    servers[0].say(faults.status(429))
    assert structured.invoke("hi") == City(name="Bern", people=134_000)
    raw = both(servers).with_structured_output(City, include_raw=True).invoke("hi")
    assert raw["parsed"] == City(name="Bern", people=134_000)
    assert raw["raw"].response_metadata["deployment"] == "a"


def test_limits_list_the_deployments(servers: Servers) -> None:
    a, b = servers
    model = pool({"a": a.model(rpm=60), "b": b.model("anthropic", rpm=30)})
    limits = model.limits()
    assert list(limits) == ["a", "b"]
    assert limits["a"].requests_per_minute == 60
    assert limits.requests_per_minute == 90


def test_each_call_is_counted_by_a_budget(servers: Servers) -> None:
    model = both(servers)
    with budget(calls=3) as spent:
        model.invoke("hi")
        model.invoke("hi")
    assert spent.spent.calls == 2


def test_a_cancelled_call_leaves_nothing_behind(servers: Servers) -> None:
    servers[0].default = Answer("late", latency_s=60)
    model = both(servers)

    async def main() -> None:
        task = asyncio.create_task(model.ainvoke("hi"))
        while not servers[0].requests:  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert served(servers) == (1, 0)
    assert [one.in_flight for one in model._scheduler.deployments] == [0, 0]


def test_a_pool_can_be_pickled(servers: Servers) -> None:
    again = pickle.loads(pickle.dumps(pool({"a": servers[0].model(), "b": servers[1].model()})))
    assert list(again.deployments) == ["a", "b"]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")


@pytest.mark.usefixtures("key")
def test_models_of_one_name_are_numbered() -> None:
    model = pool(["openai:gpt-5", "openai:gpt-5"])
    assert list(model.deployments) == ["openai:gpt-5", "openai:gpt-5#2"]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("models", "options", "error"),
    [
        ([], {}, InvalidArgument),
        ("openai:gpt-5", {}, InvalidType),
        ([("openai:gpt-5", 0)], {}, InvalidArgument),
        (["openai:gpt-5"], {"hedge": "p99"}, InvalidArgument),
        (["openai:gpt-5"], {"prefer": "last"}, InvalidArgument),
        (["openai:gpt-5"], {"max_wait": 0}, InvalidArgument),
        ([("openai:gpt-5", 2)], {"prefer": "first"}, InvalidArgument),
        ([("openai:gpt-5", 1)], {"prefer": "first"}, InvalidArgument),
        ([("openai:gpt-5", float("inf"))], {}, InvalidArgument),
        (["openai:gpt-5"], {"sticky": "no"}, InvalidArgument),
        ([3], {}, InvalidType),
    ],
)
def test_what_makes_no_pool(models: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        pool(models, **options)


def test_a_slow_answer_is_hedged() -> None:
    with ProviderServer() as slow, ProviderServer(default="quick") as quick:
        model = pool({"slow": slow.model(), "quick": quick.model()}, hedge=0.2)
        model._scheduler.hedges.calls = 100
        slow.default = Answer("late", latency_s=60)
        names = {model.invoke("hi").response_metadata["deployment"] for _ in range(3)}
        assert names == {"quick"}
        assert model._scheduler.hedges.hedges <= 3
        assert all(one.in_flight == 0 for one in model._scheduler.deployments)


def test_the_first_chunk_is_hedged() -> None:
    with ProviderServer() as slow, ProviderServer(default="quick answer") as quick:
        slow.default = Answer("late", latency_s=60)
        model = pool({"slow": slow.model(), "quick": quick.model()}, hedge=0.2, prefer="first")
        model._scheduler.hedges.calls = 100
        assert "".join(chunk.text for chunk in model.stream("hi")) == "quick answer"
        assert all(one.in_flight == 0 for one in model._scheduler.deployments)


def test_a_refusal_is_an_error_of_ours_only_if_it_never_ends(servers: Servers) -> None:
    servers[0].default = faults.status(429)
    model = pool({"a": servers[0].model()})
    with pytest.raises((Timeout, RateLimited)):
        model.invoke("hi", {"timeout": 0.4})
