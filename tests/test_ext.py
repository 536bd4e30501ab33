"""The seam for extensions and plugins: what it names, what it costs, and what its own functions do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from modelwire import errors, ext
from modelwire.adapters import ChatOpenAI
from modelwire.runnables import RunnableLambda, ensure_config, get_config_list
from modelwire.testing import FakeListChatModel, ProviderServer
from modelwire.transport.wire import MASK

MOST_NAMES = 60


class _Noting(ext.CallObserver):
    """Notes the texts of the results."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.errors: list[BaseException] = []

    def answered(self, result: Any) -> None:
        self.texts.append(result.generations[0].message.text)

    def failed(self, error: BaseException, attempt: Any, partial: Any = None) -> None:
        self.errors.append(error)


def test_each_name_is_there_and_described() -> None:
    assert ext.__doc__ is not None
    assert len(ext.__all__) == len(set(ext.__all__)) <= MOST_NAMES
    assert [name for name in ext.__all__ if f"`{name}`" not in ext.__doc__] == []
    assert [name for name in ext.__all__ if not hasattr(ext, name)] == []


def test_importing_it_loads_nothing_else() -> None:
    program = "import sys, modelwire.ext; print(*(n for n in sys.modules if 'modelwire' in n))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert set(done.stdout.split()) == {"modelwire", "modelwire.lazy", "modelwire.ext"}


def test_an_observer_observes_the_calls_of_its_block_and_no_others() -> None:
    model, observer = FakeListChatModel(responses=["one", "two", "three"]), _Noting()
    with ext.observing(observer):
        model.invoke("hi")
        (RunnableLambda(lambda text: model.invoke(text))).batch(["hi"])
    model.invoke("hi")
    assert observer.texts == ["one", "two"]


def test_two_observers_each_observe() -> None:
    model, outer, inner = FakeListChatModel(responses=["one", "two"]), _Noting(), _Noting()
    with ext.observing(outer):
        with ext.observing(inner):
            model.invoke("hi")
        model.invoke("hi")
    assert (outer.texts, inner.texts) == (["one", "two"], ["one"])


def test_a_row_has_its_observer_its_timeout_and_no_trace_afterwards() -> None:
    model, observer = FakeListChatModel(responses=["one", "two"]), _Noting()
    (config,) = get_config_list([{"timeout": 5.0, "tags": ["job"]}], 1)

    async def row() -> None:
        with ext.row_context(config, observer) as start:
            first = start()
            await RunnableLambda(_without_config(model)).ainvoke("hi", first)
            assert start()["deadline"] > first["deadline"]
        await model.ainvoke("hi")

    asyncio.run(row())
    assert observer.texts == ["one"]


def _without_config(model: Any) -> Any:
    async def step(text: str) -> Any:
        return await model.ainvoke(text)

    return step


def test_the_inner_context_changes_what_calls_inherit() -> None:
    outer = ensure_config({"tags": ["outer"], "metadata": {"a": 1}})
    with ext.inner_context(outer, tags=["inner"]):
        assert ensure_config()["tags"] == ["inner"]
        assert ensure_config()["metadata"] == {"a": 1}
    assert ensure_config()["tags"] == []


def test_a_call_that_was_made_elsewhere_is_reported_with_its_result_or_its_error() -> None:
    model, observer = FakeListChatModel(responses=["never"]), _Noting()
    answer = model.invoke("hi")
    failure = errors.ProviderError("The batch expired.")
    with ext.observing(observer):
        for outcome in (answer, failure):
            ext.report_call(model, list, outcome, config={}, metadata={"row": 1}, options={})
    assert (observer.texts, observer.errors) == (["never"], [failure])


def test_messages_are_not_built_for_a_call_that_is_not_observed() -> None:
    def messages() -> Any:
        raise AssertionError("The call is not observed.")

    model = FakeListChatModel(responses=["hi"])
    ext.report_call(model, messages, model.invoke("hi"), config={}, metadata={}, options={})


def test_a_wire_makes_its_model_and_knows_its_batch_api() -> None:
    with ProviderServer() as server:
        wire = ext.wire_named("anthropic")
        model = wire.make_model(model="m", base_url=server.base_url, api_key="k")
        assert model.invoke("hello").text == "hello"


def test_a_batch_api_is_registered_for_a_wire_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelwire.adapters.wires import wire as wires

    monkeypatch.setattr(wires, "_BATCH_APIS", {})
    assert ext.wire_named("responses").batch_api is None
    ext.register_batch_api("responses", f"{ChatOpenAI.__module__}:ChatOpenAI")
    assert ext.wire_named("responses").batch_api is ChatOpenAI
    with pytest.raises(errors.InvalidArgument, match="no wire `respones`"):
        ext.register_batch_api("respones", "a:b")


@pytest.mark.parametrize(("kind", "status"), [(errors.RateLimited, 429), (errors.ServerError, 500)])
def test_the_usual_status_of_an_error_class(kind: Any, status: int) -> None:
    assert ext.usual_status(kind) == status


def test_a_redactor_masks_what_one_call_must_not_show() -> None:
    exchange: Any = SimpleNamespace(
        url="https://a.test/v1?key=url-secret",
        headers={"Authorization": "Bearer sk-header-secret", "x-title": "assistant"},
        content=b'{"api_key": "field-secret"}',
        client=(None, None),
    )
    redactor = ext.Redactor(exchange)
    shown = redactor.value({"text": "sk-header-secret url-secret field-secret assistant"})
    assert shown == {"text": f"{MASK} {MASK} {MASK} assistant"}
    assert redactor.body({"api_key": "another", "q": "sk-header-secret"}) == {
        "api_key": MASK,
        "q": MASK,
    }
    assert redactor.request_headers(exchange.headers) == {"authorization": MASK, "x-title": MASK}
    assert redactor.answer_headers({"set-cookie": "a", "x-echo": "sk-header-secret"}) == {
        "set-cookie": MASK,
        "x-echo": MASK,
    }
