"""What stands here for scripts that bring the rest themselves: agents' values, embeddings, stores, settings."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire.agents import AgentAction, AgentActionMessageLog, AgentFinish, AgentStep
from modelwire.documents import Document
from modelwire.embeddings import Embeddings
from modelwire.errors import InvalidArgument, InvalidConfig, MissingKey, OutputParserException
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.output_parsers.openai_functions import (
    JsonKeyOutputFunctionsParser,
    JsonOutputFunctionsParser,
    PydanticAttrOutputFunctionsParser,
    PydanticOutputFunctionsParser,
)
from modelwire.prompts import FewShotPromptTemplate, PromptTemplate, load_prompt
from modelwire.runnables import RunnableLambda
from modelwire.tracers import ConsoleCallbackHandler
from modelwire.utils import convert_to_secret_str, from_env, get_from_dict_or_env, secret_from_env
from modelwire.vectorstores import VectorStore


def test_an_agents_values() -> None:
    action = AgentAction("search", {"q": "x"}, "I look it up.")
    assert [message.content for message in action.messages] == ["I look it up."]
    said = AgentActionMessageLog(tool="f", tool_input="x", log="", message_log=[AIMessage("why")])
    assert said.messages[0].content == "why"
    assert AgentStep(action=action, observation=3).observation == 3
    assert AgentFinish({"output": 1}, log="done").return_values == {"output": 1}


class Letters(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in "abc"]


async def _embed() -> Any:
    return await Letters().aembed_documents(["ab"]), await Letters().aembed_query("cc")


def test_embeddings_have_async_twins() -> None:
    import asyncio

    assert asyncio.run(_embed()) == ([[1.0, 1.0, 0.0]], [0.0, 0.0, 2.0])


class Store(VectorStore):
    def __init__(self) -> None:
        self.held: list[Document] = []

    def add_documents(self, documents: Any, **kwargs: Any) -> list[str]:
        self.held += documents
        return [str(number) for number in range(len(documents))]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        return [document for document in self.held if query in document.page_content][:k]


def test_a_store_of_ones_own_is_a_retriever(colour: Any) -> None:
    store = Store()
    assert store.add_texts(["aa", "ab", "b"], [{"n": 1}, {"n": 2}, {"n": 3}]) == ["0", "1", "2"]
    found = colour.invoke(store.as_retriever(search_kwargs={"k": 1}), "b")
    assert [document.metadata for document in found] == [{"n": 2}]
    with pytest.raises(InvalidArgument, match="`search_type` is `exact`"):
        colour.invoke(store.as_retriever(search_type="exact"), "b")
    with pytest.raises(NotImplementedError, match="Store"):
        colour.invoke(store.as_retriever(search_type="mmr"), "b")


def test_settings_come_from_a_dict_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "from env")
    assert get_from_dict_or_env({"key": "given"}, "key", "SOME_KEY") == "given"
    assert get_from_dict_or_env({}, ["other", "key"], "SOME_KEY") == "from env"
    assert from_env(["NO_SUCH", "SOME_KEY"])() == "from env"
    assert secret_from_env("SOME_KEY")().get_secret_value() == "from env"
    assert secret_from_env("NO_SUCH", default=None)() is None
    assert convert_to_secret_str("x").get_secret_value() == "x"
    with pytest.raises(MissingKey, match="`NO_SUCH`") as caught:
        get_from_dict_or_env({}, "key", "NO_SUCH")
    assert isinstance(caught.value, ValueError)


def answer(arguments: str, cls: Any = AIMessage) -> Any:
    return cls("", additional_kwargs={"function_call": {"name": "Point", "arguments": arguments}})


class Point:
    @classmethod
    def model_validate(cls, value: Any) -> Any:
        made = cls()
        made.x = value["x"]  # type: ignore[attr-defined]
        return made


def test_function_calls_are_read(colour: Any) -> None:
    message = answer('{"x": 1, "y": [2]}')
    assert colour.invoke(JsonOutputFunctionsParser(), message) == {"x": 1, "y": [2]}
    whole = colour.invoke(JsonOutputFunctionsParser(args_only=False), message)
    assert whole == {"name": "Point", "arguments": {"x": 1, "y": [2]}}
    assert colour.invoke(JsonKeyOutputFunctionsParser(key_name="y"), message) == [2]
    assert colour.invoke(PydanticOutputFunctionsParser(pydantic_schema=Point), message).x == 1
    assert (
        colour.invoke(PydanticOutputFunctionsParser(pydantic_schema={"Point": Point}), message).x
        == 1
    )
    assert (
        colour.invoke(
            PydanticAttrOutputFunctionsParser(pydantic_schema=Point, attr_name="x"), message
        )
        == 1
    )
    for wrong in (AIMessage("no call"), answer('{"x": ')):
        with pytest.raises(OutputParserException):
            colour.invoke(JsonOutputFunctionsParser(), wrong)
    with pytest.raises(OutputParserException, match="Point"):
        colour.invoke(PydanticOutputFunctionsParser(pydantic_schema={"Other": Point}), message)


def test_function_calls_are_read_as_they_grow(colour: Any) -> None:
    chunks = [answer(part, AIMessageChunk) for part in ('{"x"', ": [1", ", 2]}")]
    grown = colour.transform(JsonOutputFunctionsParser(), chunks)
    assert grown[-1] == {"x": [1, 2]}
    assert len(grown) > 1


def test_the_console_shows_what_goes_in_and_comes_out(
    colour: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = (
        RunnableLambda(lambda x: x + 1).with_config(run_name="inner") | RunnableLambda(str)
    ).with_config(run_name="outer")
    colour.invoke(chain, 1, {"callbacks": [ConsoleCallbackHandler()]})
    shown = capsys.readouterr().out
    assert "[chain/start] [chain:outer > chain:inner] Entering chain run:" in shown
    assert '"output": "2"' in shown
    with pytest.raises(ZeroDivisionError):
        colour.invoke(RunnableLambda(lambda x: 1 / x), 0, {"callbacks": [ConsoleCallbackHandler()]})
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_prompts_come_from_files(tmp_path: Any) -> None:
    (tmp_path / "text.txt").write_text("Say {what}.")
    (tmp_path / "p.json").write_text(
        '{"_type": "prompt", "template_path": "text.txt", "input_variables": ["what"]}'
    )
    assert load_prompt(tmp_path / "p.json") == PromptTemplate.from_template("Say {what}.")
    (tmp_path / "f.json").write_text(
        '{"_type": "few_shot", "examples": [{"what": "a"}], "example_prompt_path": "p.json",'
        ' "suffix": "Now {x}", "input_variables": ["x"]}'
    )
    made = load_prompt(str(tmp_path / "f.json"))
    assert isinstance(made, FewShotPromptTemplate)
    assert made.format(x="b") == "Say a.\n\nNow b"
    for text, said in (
        ('{"_type": "promt", "template": "x"}', "Did you mean `prompt`"),
        ('{"template": "x", "template_format": "jinja2"}', "jinja2"),
        ("[]", "is not a prompt"),
        ("{", "not valid JSON"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InvalidConfig, match=said):
            load_prompt(tmp_path / "bad.json")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        load_prompt(tmp_path / "nowhere.json")


def test_a_picture_of_a_graph_is_refused_with_the_way_to_get_one() -> None:
    from modelwire.runnables.graph import CurveStyle, MermaidDrawMethod, NodeStyles

    graph = (RunnableLambda(str) | RunnableLambda(int)).get_graph()
    with pytest.raises(NotImplementedError, match="draw_mermaid"):
        graph.draw_mermaid_png(draw_method=MermaidDrawMethod.API)
    assert "linear" in graph.draw_mermaid(curve_style=CurveStyle.LINEAR, node_colors=NodeStyles())
