"""A job resumes only with what sends the same requests: the fingerprint covers all that changes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire import init_chat_model, pool
from modelwire.adapters import ChatOpenAI
from modelwire.errors import JobChanged
from modelwire.jobs import JobResult, run_job
from modelwire.jobs.work import make_work
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import ConfigurableField, RunnableLambda

ROWS = [{"id": n} for n in range(3)]
PROMPT = ChatPromptTemplate.from_messages([("human", "Say {id}")])
Run = Callable[..., JobResult]


@pytest.fixture
def url(raw_server: Any) -> str:
    body = json.dumps(
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "fine"},
                    "finish_reason": "stop",
                }
            ],
            "model": "m",
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    return str(raw_server([[answer]], repeat=True).url)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def job(model: Any, *, chain: Any = None, **options: Any) -> JobResult:
        output = tmp_path / "o.jsonl"
        return run_job(chain or PROMPT | model, ROWS, output=output, quiet=True, **options)

    return job


def model_at(url: str, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": "m", "api_key": "k", "base_url": url, **settings})


def test_a_model_that_the_config_chooses_is_part_of_the_job(run: Run, url: str) -> None:
    model = model_at(url).configurable_fields(model_name=ConfigurableField(id="which"))
    first: Any = {"configurable": {"which": "one"}}
    other: Any = {"configurable": {"which": "two"}}
    assert run(model, config=first).asked == 3
    assert run(model, config=first).asked == 0
    with pytest.raises(JobChanged, match=r"(?s)The model: .*one.* became .*two"):
        run(model, config=other)
    with pytest.raises(JobChanged, match="The model: "):
        run(model)


def test_a_model_that_with_config_chooses_is_part_of_the_job(run: Run, url: str) -> None:
    made: Any = init_chat_model(
        model_provider="openai", base_url=url, api_key="k", configurable_fields=("model",)
    )
    run(made.with_config(configurable={"model": "one"}))
    with pytest.raises(JobChanged, match=r"The (model|work): "):
        run(made.with_config(configurable={"model": "two"}))


@pytest.mark.parametrize(
    "settings",
    [
        {"extra_body": {"top_k": 3}},
        {"model_kwargs": {"seed": 3}},
        {"temperature": 0.5},
        {"max_tokens": 9},
    ],
)
def test_what_changes_the_body_is_another_job(run: Run, url: str, settings: Any) -> None:
    run(model_at(url))
    with pytest.raises(JobChanged, match=r"The (request|model): "):
        run(model_at(url, **settings))


def test_a_key_an_address_and_a_timeout_may_be_others(run: Run, url: str, raw_server: Any) -> None:
    run(model_at(url))
    other = model_at(url.replace("127.0.0.1", "localhost"), api_key="other", timeout=9)
    assert run(other).asked == 0
    assert run(model_at(url, default_headers={"x-trace": "1"})).asked == 0


def test_what_is_bound_is_part_of_the_job(run: Run, url: str) -> None:
    run(model_at(url).bind(extra_body={"a": 1}))
    with pytest.raises(JobChanged):
        run(model_at(url).bind(extra_body={"a": 2}))


def test_a_chain_without_a_model_over_http_resumes(run: Run) -> None:
    chain = RunnableLambda(lambda row: f"to {row['id']}")
    assert run(None, chain=chain).asked == 3
    assert run(None, chain=chain).asked == 0


def test_the_tools_of_a_pool_are_a_part_of_its_work() -> None:
    model = pool({"a": ChatOpenAI(model="m", api_key="k"), "b": ChatOpenAI(model="n", api_key="k")})

    def work(*names: str) -> Any:
        schema = {"type": "object", "properties": {}}
        tools = [
            {"type": "function", "function": {"name": name, "parameters": schema}} for name in names
        ]
        return make_work(PROMPT | model.bind_tools(tools)).fingerprint()

    assert work("weather") == work("weather")
    assert work("weather") != work("stock")
    assert work("weather") != make_work(PROMPT | model).fingerprint()
