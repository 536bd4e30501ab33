"""Batches of deployments on Azure: the address of all of them, and the deployment as the rows' model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AzureOpenAI

from modelwire.adapters import AzureChatOpenAI, ChatOpenAI
from modelwire.errors import InvalidArgument
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import openai as openai_api
from modelwire.testing import BatchPlan, ProviderServer

Serve = Callable[..., ProviderServer]
DATED: dict[str, Any] = {"api_version": "2025-04-01-preview", "api_key": "k"}
MODELS: dict[str, Callable[[str], ChatOpenAI]] = {
    "dated": lambda at: AzureChatOpenAI(
        azure_endpoint=at, azure_deployment="my dep", model="gpt-4o", **DATED
    ),
    "v1": lambda at: AzureChatOpenAI(
        azure_endpoint=at, azure_deployment="my dep", model="gpt-4o", api_key="k"
    ),
    "responses": lambda at: AzureChatOpenAI(
        azure_endpoint=at, azure_deployment="my dep", use_responses_api=True, **DATED
    ),
    "client": lambda at: ChatOpenAI(model="my dep", client=AzureOpenAI(azure_endpoint=at, **DATED)),
    "deployment of the client": lambda at: ChatOpenAI(
        model="gpt-4o", client=AzureOpenAI(azure_endpoint=at, azure_deployment="my dep", **DATED)
    ),
}


def root(server: ProviderServer) -> str:
    return server.base_url_for("openai").removesuffix("/v1")


@pytest.fixture(autouse=True)
def no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_VERSION", raising=False)


@pytest.mark.parametrize("how", MODELS)
def test_a_deployment_answers_through_the_address_of_all(
    serve: Serve, tmp_path: Path, how: str
) -> None:
    server = serve()
    model = MODELS[how](root(server))
    job = model.submit_batch(["a", "b"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert [r.output.text for r in job.results()] == ["a", "b"]
    (made,) = server.batches.made
    assert made.fields["endpoint"] == "/chat/completions"
    assert {wire for _, wire, _ in made.rows} == {"responses" if how == "responses" else "openai"}
    assert {body["model"] for _, _, body in made.rows} == {"my dep"}
    where = "/openai/v1/" if how == "v1" else "/openai/"
    for request in server.requests:
        assert request.path.startswith((f"{where}files", f"{where}batches"))
        assert request.query.count("api-version=2025-04-01-preview") == (how != "v1")
        assert (request.headers.get("api-key"), request.headers.get("authorization")) == ("k", None)


@pytest.mark.parametrize("made", ["azure", "openai", "anthropic"])
def test_each_call_has_the_token_of_its_moment(serve: Serve, tmp_path: Path, made: str) -> None:
    server, tokens = serve(), (f"token-{number}" for number in range(99))
    if made == "azure":
        model: Any = AzureChatOpenAI(
            azure_endpoint=root(server),
            azure_deployment="d",
            azure_ad_token_provider=lambda: next(tokens),
            api_version="2025-04-01-preview",
        )
    else:
        model = server.model(made, api_key=lambda: next(tokens))  # type: ignore[arg-type]
    job = model.submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert [r.output.text for r in job.results()] == ["a"]
    name = "x-api-key" if made == "anthropic" else "authorization"
    sent = [request.headers[name] for request in server.requests]
    assert len(sent) > 2 and len(sent) == len(set(sent))


def test_a_lost_batch_is_known_by_its_file_where_metadata_are_not_kept(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(batches=[BatchPlan(polls=1, lose_create=True), BatchPlan()])
    make = type(server.batches).make
    monkeypatch.setattr(
        type(server.batches),
        "make",
        lambda desk, wire, rows, fields: make(desk, wire, rows, fields | {"metadata": None}),
    )
    job = MODELS["dated"](root(server)).submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert len(server.batches.made) == 1
    assert [r.output.text for r in job.results()] == ["a"]


def test_a_file_that_is_still_read_in_is_waited_for(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    add = type(server.batches).add_file

    def slowly(desk: Any, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        return {**add(desk, name, purpose, content), "status": "pending"}

    monkeypatch.setattr(type(server.batches), "add_file", slowly)
    monkeypatch.setattr(openai_api, "READ_PAUSE_S", 0.01)
    MODELS["v1"](root(server)).submit_batch(["a"], dir=tmp_path / "a.job")
    assert [(r.method, r.path.rpartition("/v1/")[2]) for r in server.requests] == [
        ("POST", "files"),
        ("GET", "files/file-1"),
        ("POST", "batches"),
    ]


def test_what_went_through_a_client_is_waited_for_with_its_chain_only(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(polls=1))
    model = MODELS["client"](root(server))
    model.submit_batch(["a"], dir=tmp_path / "a.job")
    with pytest.raises(InvalidArgument, match=r"`AzureOpenAI`.*chain=chain"):
        BatchJob.load(tmp_path / "a.job").wait()
    job = BatchJob.load(tmp_path / "a.job", chain=model).wait(poll=0.01)
    assert [r.status for r in job.results()] == ["succeeded"]
