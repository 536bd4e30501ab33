"""`generate` and what else a chat model has besides the Runnable methods."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from modelwire.adapters import BaseChatModel, ChatOpenAI
from modelwire.caches import InMemoryCache
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from modelwire.prompt_values import StringPromptValue
from modelwire.testing import FakeListChatModel


class Two(BaseChatModel):
    """Answers twice, and says something beside the answers."""

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        if messages[-1].content == "bad":
            raise ValueError("bad")
        made = [ChatGeneration(message=AIMessage(f"{messages[-1].content}{i}")) for i in range(2)]
        return ChatResult(generations=made, llm_output={"tokens": 3})

    def _combine_llm_outputs(self, llm_outputs: Any, /) -> dict[str, Any]:
        return {"tokens": sum(output["tokens"] for output in llm_outputs)}

    @property
    def _llm_type(self) -> str:
        return "two"


def generate(colour: Any, model: BaseChatModel, *args: Any, **kwargs: Any) -> Any:
    return colour.run(
        lambda: model.generate(*args, **kwargs), lambda: model.agenerate(*args, **kwargs)
    )


def test_generate_gives_every_answer_to_every_list_and_adds_up_the_rest(colour: Any) -> None:
    result = generate(colour, Two(), [[HumanMessage("a")], [HumanMessage("b")]])
    assert [[one.text for one in row] for row in result.generations] == [["a0", "a1"], ["b0", "b1"]]
    assert result.llm_output == {"tokens": 6}
    assert len({info.run_id for info in result.run}) == 2
    assert result.generations[0][0].message.id == f"lc_run--{result.run[0].run_id}"


def test_generate_adds_up_the_tokens_that_the_provider_counts(colour: Any) -> None:
    body = {
        "model": "gpt-4o-mini-2024",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 3,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
    }
    answer = httpx2.MockTransport(lambda request: httpx2.Response(200, json=body))
    with httpx2.Client(transport=answer) as client:
        model = ChatOpenAI(
            model="gpt-4o-mini",
            api_key="k",
            http_client=client,
            http_async_client=httpx2.AsyncClient(transport=answer),
        )
        result = generate(colour, model, [[HumanMessage("a")], [HumanMessage("b")]])
    assert result.llm_output == {
        "model_name": "gpt-4o-mini-2024",
        "token_usage": {
            "prompt_tokens": 4,
            "completion_tokens": 6,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }
    assert result.generations[1][0].generation_info == {"finish_reason": "stop"}


def test_generate_of_nothing_is_nothing(colour: Any) -> None:
    assert generate(colour, FakeListChatModel(responses=["a"]), []).generations == []


def test_generate_takes_prompt_values_too(colour: Any) -> None:
    model, prompts = Two(), [StringPromptValue(text="a")]
    result = colour.run(
        lambda: model.generate_prompt(prompts), lambda: model.agenerate_prompt(prompts)
    )
    assert result.generations[0][0].text == "a0"


def test_each_list_is_a_run_and_the_first_has_the_given_id(colour: Any) -> None:
    heard: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            heard.append(
                (kwargs["run_id"], kwargs["name"], kwargs["tags"], kwargs["metadata"]["m"])
            )

        def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
            heard.append(repr(error))

    run_id = uuid4()
    lists = [[HumanMessage("a")], [HumanMessage("b")]]
    options: dict[str, Any] = {"tags": ["t"], "metadata": {"m": 1}, "run_name": "n"}
    result = generate(colour, Two(), lists, callbacks=[Handler()], run_id=run_id, **options)
    assert [info.run_id for info in result.run] == [one[0] for one in heard]
    assert result.run[0].run_id == run_id
    assert heard[1][1:] == ("n", ["t"], 1)
    heard.clear()
    with pytest.raises(ValueError, match="bad"):
        generate(colour, Two(), [[HumanMessage("bad")]], callbacks=[Handler()], **options)
    assert heard[1] == "ValueError('bad')"


def test_generate_uses_the_cache(colour: Any) -> None:
    model = FakeListChatModel(responses=["a", "b"], cache=InMemoryCache())
    for _ in range(2):
        assert generate(colour, model, [[HumanMessage("q")]]).generations[0][0].text == "a"


def test_tokens_are_counted_by_the_models_tokenizer_or_estimated() -> None:
    model = FakeListChatModel(
        responses=["a"], custom_get_token_ids=lambda text: list(range(len(text)))
    )
    assert model.get_token_ids("abc") == [0, 1, 2]
    assert model.get_num_tokens("hello") == 5
    assert model.get_num_tokens_from_messages([HumanMessage("hello"), AIMessage("hi")]) == len(
        "Human: hello" + "AI: hi"
    )
    plain = FakeListChatModel(responses=["a"])
    assert plain.get_num_tokens("x" * 9) == 3
    assert plain.get_num_tokens_from_messages([HumanMessage("x" * 400)]) >= 100
    with pytest.raises(InvalidArgument, match="custom_get_token_ids"):
        plain.get_token_ids("abc")


def test_a_model_says_what_sets_it_apart_and_no_secret() -> None:
    model = ChatOpenAI(model="m", api_key="sk-canary", temperature=0)
    assert (
        model.asdict() == model.dict() == {"model": "m", "temperature": 0, "_type": "openai-chat"}
    )
    assert "canary" not in model._get_llm_string()


def test_handlers_see_parameters_as_the_model_shows_them(colour: Any) -> None:
    seen: list[Any] = []

    class Discreet(Two):
        def _get_invocation_params(self, stop: Any = None, **kwargs: Any) -> dict[str, Any]:
            return {**super()._get_invocation_params(stop, **kwargs), "secret": "***"}

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            seen.append((kwargs["invocation_params"], kwargs["options"]))

    colour.invoke(Discreet(), "q", {"callbacks": [Handler()]}, secret="raw")
    assert seen == [
        ({"_type": "two", "stop": None, "secret": "***"}, {"stop": None, "secret": "***"})
    ]


class Streams(Two):
    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        yield ChatGenerationChunk(message=AIMessageChunk(content="streamed"))


@pytest.mark.parametrize(
    ("off", "without", "with_tools"),
    [(True, "q0", "q0"), (False, "streamed", "streamed"), ("tool_calling", "streamed", "q0")],
)
def test_streaming_may_be_off_always_or_where_there_are_tools(
    colour: Any, off: Any, without: str, with_tools: str
) -> None:
    model = Streams(disable_streaming=off)
    assert colour.stream(model, "q")[0].content == without
    assert colour.stream(model, "q", tools=[{"name": "t"}])[0].content == with_tools
    assert colour.invoke(model, "q").content == "q0"


def test_a_stream_ends_with_a_last_chunk_also_where_the_model_forgot_it(colour: Any) -> None:
    chunks = colour.stream(Streams(), "q")
    assert [(chunk.content, chunk.chunk_position) for chunk in chunks] == [
        ("streamed", None),
        ("", "last"),
    ]
    assert len({chunk.id for chunk in chunks}) == 1
