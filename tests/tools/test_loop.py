"""The small tool loop: what it sends, runs, hands back and refuses, in its four forms."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Annotated, Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from modelwire import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
    arun_tools,
    astream_tools,
    budget,
    run_tools,
    stream_tools,
)
from modelwire.adapters import BaseChatModel
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import (
    BudgetExceeded,
    InvalidArgument,
    InvalidType,
    RateLimited,
    StepLimitReached,
    Timeout,
)
from modelwire.outputs import ChatGeneration, ChatResult
from modelwire.runnables import RunnableConfig
from modelwire.runnables.config import ensure_config, in_batch
from modelwire.testing import (
    Answer,
    FakeMessagesListChatModel,
    GenericFakeChatModel,
    ProviderServer,
)
from modelwire.tools import BaseTool, InjectedToolArg, ToolException, tool
from modelwire.tools.loop import ToolCallStarted


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


def _last_stream(events: list[Any], history: Any) -> list[Any]:
    whole = [one for one in events if not isinstance(one, AIMessageChunk | ToolCallStarted)]
    return [HumanMessage(history), *whole] if isinstance(history, str) else [*history, *whole]


def _streamed(model: Any, history: Any, tools: Any, **kwargs: Any) -> Any:
    return _last_stream(list(stream_tools(model, history, tools, **kwargs)), history)


def _astreamed(model: Any, history: Any, tools: Any, **kwargs: Any) -> Any:
    return _last_stream(asyncio.run(_all(astream_tools(model, history, tools, **kwargs))), history)


FORMS: dict[str, Callable[..., Any]] = {
    "sync": run_tools,
    "async": lambda *args, **kwargs: asyncio.run(arun_tools(*args, **kwargs)),
    "stream": _streamed,
    "astream": _astreamed,
}


@pytest.fixture(params=FORMS)
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """One of the four forms; each returns the whole conversation."""
    return FORMS[request.param]


def _model(*answers: AIMessage) -> FakeMessagesListChatModel:
    return FakeMessagesListChatModel(responses=[*answers])


def _call(name: str, id: str = "1", **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id}


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_the_model_reads_what_its_tool_returned_on_every_wire(
    run: Callable[..., Any], wire: str
) -> None:
    script = [Answer(tool_calls=[{"name": "multiply", "args": {"a": 3, "b": 4}}]), "It is 12."]
    with ProviderServer(script) as server:
        messages = run(server.model(wire), "What is 3 times 4?", [multiply])
        first, second = server.requests
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[2].text == "12"
    assert messages[-1].text == "It is 12."
    assert "multiply" in str(first.body.get("tools") or first.body["toolConfig"])
    assert "12" in str(second.body)
    assert "12" not in str(first.body)
    assert messages[1].tool_calls[0]["id"] == messages[2].tool_call_id


def test_the_calls_of_one_answer_run_at_the_same_time_and_are_answered_in_order(
    run: Callable[..., Any],
) -> None:
    together = threading.Barrier(4)

    @tool
    def meet(number: int) -> int:
        """Wait for the others."""
        together.wait(30)
        return number

    calls = [_call("meet", str(number), number=number) for number in range(4)]
    messages = run(_model(AIMessage("", tool_calls=calls), AIMessage("done")), "go", [meet])
    answers = [message for message in messages if isinstance(message, ToolMessage)]
    if run in (FORMS["sync"], FORMS["async"]):
        assert [message.text for message in answers] == [str(number) for number in range(4)]
    assert {message.tool_call_id: message.text for message in answers} == {
        str(n): str(n) for n in range(4)
    }


def test_max_concurrency_bounds_the_tools(run: Callable[..., Any]) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        """Work."""
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return number

    calls = [_call("work", str(number), number=number) for number in range(6)]
    run(
        _model(AIMessage("", tool_calls=calls), AIMessage("done")),
        "go",
        [work],
        config={"max_concurrency": 2},
    )
    assert most <= 2


def test_what_a_tool_raises_goes_to_the_model_and_to_the_log(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def divide(a: int, b: int) -> float:
        """Divide."""
        return a / b

    @tool
    def refuse() -> str:
        """Refuse."""
        raise ToolException("the office is closed")

    calls = [_call("divide", "1", a=1, b=0), _call("refuse", "2"), _call("divide", "3", a="x", b=1)]
    with caplog.at_level(logging.INFO, "modelwire.tools"):
        messages = run(
            _model(AIMessage("", tool_calls=calls), AIMessage("sorry")), "go", [divide, refuse]
        )
    answers = {
        message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)
    }
    assert {message.status for message in answers.values()} == {"error"}
    assert answers["1"].text == "ZeroDivisionError: division by zero"
    assert answers["2"].text == "ToolException: the office is closed"
    assert "valid integer" in answers["3"].text
    assert messages[-1].text == "sorry"
    assert len(caplog.records) == 3


def test_a_tool_that_is_not_there_is_said_to_the_model_with_the_close_one(
    run: Callable[..., Any],
) -> None:
    messages = run(
        _model(AIMessage("", tool_calls=[_call("multiplay")]), AIMessage("ok")), "go", [multiply]
    )
    assert messages[2].status == "error"
    assert "no tool `multiplay`. Did you mean `multiply`?" in messages[2].text


def test_arguments_that_are_no_json_are_said_to_the_model(run: Callable[..., Any]) -> None:
    bad = {
        "name": "multiply",
        "args": '{"a": 3, ',
        "id": "9",
        "error": "cut",
        "type": "invalid_tool_call",
    }
    messages = run(
        _model(AIMessage("", invalid_tool_calls=[bad]), AIMessage("ok")), "go", [multiply]
    )
    assert (messages[2].tool_call_id, messages[2].status) == ("9", "error")
    assert "not valid JSON" in messages[2].text


def test_the_step_limit_keeps_what_was_done_and_may_go_on(run: Callable[..., Any]) -> None:
    answers = [AIMessage("", tool_calls=[_call("multiply", str(n), a=n, b=n)]) for n in range(3)]
    model = _model(*answers, AIMessage("It is 4."))
    with pytest.raises(StepLimitReached, match=r"after 2 answers \(`max_steps`\)") as caught:
        run(model, "go", [multiply], max_steps=2)
    done = caught.value.messages
    assert [message.type for message in done] == ["human", "ai", "tool", "ai"]
    assert pickle.loads(pickle.dumps(caught.value)).messages == done
    messages = run(model, done, [multiply], max_steps=2)
    assert [message.type for message in messages] == [
        "human",
        "ai",
        "tool",
        "ai",
        "tool",
        "ai",
        "tool",
        "ai",
    ]
    assert messages[4].text == "1"
    assert messages[-1].text == "It is 4."


def test_a_budget_that_stops_the_model_keeps_what_was_done_and_may_go_on(
    run: Callable[..., Any],
) -> None:
    model = _model(AIMessage("", tool_calls=[_call("multiply", a=3, b=4)]), AIMessage("It is 12."))
    with budget(calls=1), pytest.raises(BudgetExceeded) as caught:
        run(model, "What is 3 times 4?", [multiply])
    assert [message.type for message in caught.value.messages] == ["human", "ai", "tool"]
    assert run(model, caught.value.messages, [multiply])[-1].text == "It is 12."


def test_a_budget_that_stops_a_tool_stops_the_loop_and_the_other_tools_answers_stay(
    run: Callable[..., Any],
) -> None:
    inner = _model(AIMessage("blue"), AIMessage("blue"))
    limit = budget(calls=1)

    def look_up(question: str) -> str:
        """Ask another model."""
        return str(inner.invoke(question).text)

    def careful(question: str) -> str:
        """Ask another model, within a budget of its own."""
        with budget(calls=1):
            return str(inner.invoke(question).text) + str(inner.invoke(question).text)

    calls = [_call("multiply", "1", a=3, b=4), _call("look_up", "2", question="Which colour?")]
    model = _model(AIMessage("", tool_calls=calls), AIMessage("It is 12, and blue."))
    with limit, pytest.raises(BudgetExceeded) as caught:
        run(model, "go", [multiply, look_up])
    done = caught.value.messages
    assert [(message.type, message.text) for message in done][2:] == [("tool", "12")]
    assert [message.text for message in run(model, done, [multiply, look_up])][2:] == [
        "12",
        "blue",
        "It is 12, and blue.",
    ]

    model = _model(
        AIMessage("", tool_calls=[_call("careful", "1", question="Which?")]), AIMessage("I cannot.")
    )
    messages = run(model, "go", [careful])
    assert messages[2].status == "error"
    assert "BudgetExceeded" in messages[2].text


def test_a_model_that_takes_no_tools_is_asked_without_them(run: Callable[..., Any]) -> None:
    class Plain(BaseChatModel):
        def _generate(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> ChatResult:
            return ChatResult(generations=[ChatGeneration(message=AIMessage("hi"))])

        @property
        def _llm_type(self) -> str:
            return "plain"

    assert run(Plain(), "go", [])[-1].text == "hi"


def test_calls_that_were_passed_over_are_answered_before_any_request(
    run: Callable[..., Any],
) -> None:
    history = [
        HumanMessage("go"),
        AIMessage(
            "", tool_calls=[_call("multiply", "1", a=1, b=1), _call("multiply", "2", a=2, b=2)]
        ),
        ToolMessage("1", tool_call_id="1"),
        HumanMessage("stop, something else"),
    ]
    before = [message.model_copy() for message in history]
    seen: list[Any] = []

    class Seeing(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            seen[:] = messages[0]

    run(_model(AIMessage("fine")), history, [multiply], config={"callbacks": [Seeing()]})
    assert history == before
    assert [getattr(message, "tool_call_id", None) for message in seen] == [
        None,
        None,
        "1",
        "2",
        None,
    ]
    assert seen[3].status == "error"
    assert "not run" in seen[3].text


@pytest.mark.parametrize(
    "history",
    [
        [HumanMessage("go"), ToolMessage("1", tool_call_id="1")],
        [
            AIMessage("", tool_calls=[_call("multiply", "1", a=1, b=1)]),
            ToolMessage("1", tool_call_id="1"),
            ToolMessage("1", tool_call_id="1"),
        ],
    ],
)
def test_an_answer_to_no_call_is_refused_before_any_request(
    run: Callable[..., Any], history: list[Any]
) -> None:
    with pytest.raises(
        InvalidArgument, match=f"Message {len(history) - 1} answers the tool call `1`"
    ):
        run(_model(), history, [multiply])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"tools": [multiply, multiply]}, InvalidArgument, "Two tools are called `multiply`"),
        (
            {"tools": [{"name": "x", "description": "d", "input_schema": {}}]},
            InvalidArgument,
            "cannot be run",
        ),
        ({"max_steps": 0}, InvalidArgument, "at least 1"),
        ({"max_steps": True}, InvalidArgument, "at least 1"),
        ({"model": "gpt-4o"}, InvalidType, "must be a chat model"),
        ({"tools": multiply}, InvalidType, "list"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_request(
    run: Callable[..., Any], arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    ready = {"model": _model(), "messages": "go", "tools": [multiply], **arguments}
    with pytest.raises(error, match=text):
        run(ready.pop("model"), ready.pop("messages"), ready.pop("tools"), **ready)


def test_a_provider_s_own_tool_is_bound_and_not_run(run: Callable[..., Any]) -> None:
    own = {"type": "web_search_20250305", "name": "web_search"}
    assert run(_model(AIMessage("found")), "go", [own, multiply])[-1].text == "found"


def test_a_direct_tool_ends_the_loop(run: Callable[..., Any]) -> None:
    @tool(return_direct=True)
    def final(x: int) -> str:
        """Answer."""
        return f"the answer is {x}"

    messages = run(_model(AIMessage("", tool_calls=[_call("final", x=3)])), "go", [final])
    assert messages[-1].text == "the answer is 3"


def test_the_timeout_is_for_the_whole_loop(run: Callable[..., Any]) -> None:
    def slow() -> str:
        """Take long."""
        threading.Event().wait(0.3)
        return "late"

    with pytest.raises(Timeout):
        run(
            _model(AIMessage("", tool_calls=[_call("slow")]), AIMessage("x")),
            "go",
            [slow],
            config={"timeout": 0.1},
        )


def test_a_tools_own_timeout_goes_to_the_model(run: Callable[..., Any]) -> None:
    def slow() -> str:
        """Give up."""
        raise Timeout("the other service is slow")

    messages = run(_model(AIMessage("", tool_calls=[_call("slow")]), AIMessage("x")), "go", [slow])
    assert messages[2].text == "Timeout: the other service is slow"


def test_a_failing_model_raises_its_error(run: Callable[..., Any]) -> None:
    class Failing(FakeMessagesListChatModel):
        def _answer_next(self) -> Any:
            raise RateLimited("slow down")

    with pytest.raises(RateLimited):
        run(Failing(responses=[]), "go", [multiply])


def test_a_forced_choice_holds_for_the_first_answer_only(run: Callable[..., Any]) -> None:
    with ProviderServer(
        [Answer(tool_calls=[{"name": "multiply", "args": {"a": 1, "b": 1}}]), "1"]
    ) as server:
        model = server.model("openai")
        run(model, "go", [multiply], tool_choice="any")
        first, second = server.requests
    assert first.body["tool_choice"] == "required"
    assert "tool_choice" not in second.body


def test_what_a_binding_adds_is_kept(run: Callable[..., Any]) -> None:
    with ProviderServer(["fine"]) as server:
        model = server.model("openai")
        run(model.bind(stop=["END"]).with_config(tags=["a"]), "go", [multiply])
        (request,) = server.requests
    assert request.body["stop"] == ["END"]
    assert "multiply" in str(request.body["tools"])


def test_the_stream_shows_chunks_messages_and_starts(colour: Any) -> None:
    answers = [AIMessage("", tool_calls=[_call("multiply", a=3, b=4)]), AIMessage("It is 12.")]
    model = GenericFakeChatModel(messages=iter(answers))
    events = colour.run(
        lambda: list(stream_tools(model, "go", [multiply])),
        lambda: _all(astream_tools(model, "go", [multiply])),
    )
    kinds = [type(event).__name__ for event in events]
    started = next(event for event in events if isinstance(event, ToolCallStarted))
    assert (started.tool_call["name"], started.tool_call["args"], started.step) == (
        "multiply",
        {"a": 3, "b": 4},
        1,
    )
    order = [kind for kind in kinds if kind != "AIMessageChunk"]
    assert order == ["AIMessage", "ToolCallStarted", "ToolMessage", "AIMessage"]
    last = [
        event.text
        for event in events[kinds.index("ToolMessage") :]
        if isinstance(event, AIMessageChunk)
    ]
    assert "".join(last) == "It is 12."


def test_a_stream_that_is_left_runs_no_tool() -> None:
    ran: list[int] = []

    def note() -> str:
        """Note."""
        ran.append(1)
        return "x"

    events = stream_tools(
        _model(AIMessage("", tool_calls=[_call("note")]), AIMessage("x")), "go", [note]
    )
    assert isinstance(
        next(event for event in events if not isinstance(event, AIMessageChunk)), AIMessage
    )
    events.close()
    assert ran == []


def test_handlers_hear_each_model_and_tool_once(run: Callable[..., Any]) -> None:
    heard: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            heard.append("model")

        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            heard.append("tool")

        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            heard.append("chain")

    model = _model(AIMessage("", tool_calls=[_call("multiply", a=3, b=4)]), AIMessage("12"))
    run(model, "go", [multiply], config={"callbacks": [Handler()]})
    assert heard == ["model", "tool", "model"]


def test_tools_that_run_together_do_not_wait_like_rows_of_a_batch(run: Callable[..., Any]) -> None:
    seen: list[bool] = []

    def look(n: int) -> int:
        """Look."""
        seen.append(in_batch.get())
        return n

    calls = [_call("look", str(n), n=n) for n in range(2)]
    run(_model(AIMessage("", tool_calls=calls), AIMessage("x")), "go", [look])
    assert seen == [False, False]


def test_an_async_tool_runs_in_the_callers_loop() -> None:
    loops: list[Any] = []

    @tool
    async def here() -> str:
        """Say where."""
        loops.append(asyncio.get_running_loop())
        return "x"

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await arun_tools(
            _model(AIMessage("", tool_calls=[_call("here")]), AIMessage("x")), "go", [here]
        )

    asyncio.run(main())
    assert loops[0] is loops[1]


@pytest.mark.parametrize("form", FORMS)
def test_an_async_tool_runs_in_the_async_loop_and_is_refused_by_the_sync_one(form: str) -> None:
    @tool
    async def here() -> str:
        """Return where it is."""
        return "x"

    model = _model(AIMessage("", tool_calls=[_call("here")]), AIMessage("done"))
    if form in ("async", "astream"):
        assert FORMS[form](model, "go", [here])[2].text == "x"
        return
    with pytest.raises(InvalidArgument, match="`here` is an async function, and this loop is sync"):
        FORMS[form](model, "go", [here])
    assert model.i == 0


def test_the_model_cannot_fill_an_injected_argument(run: Callable[..., Any]) -> None:
    class Args(BaseModel):
        text: str
        tenant: Annotated[str, InjectedToolArg] = "own"

    class Post(BaseTool):
        name: str = "post"
        description: str = "Post a text."
        args_schema: Any = Args

        def _run(self, text: str, tenant: str) -> str:
            return f"{text} for {tenant}"

    @tool
    def save(text: str, is_admin: Annotated[bool, InjectedToolArg] = False) -> str:
        """Save a text."""
        return f"{text} as {'admin' if is_admin else 'user'}"

    @tool
    def read(user: Annotated[str, InjectedToolArg]) -> str:
        """Read the mail of a user."""
        return f"mail of {user}"

    calls = [
        _call("post", "1", text="a", tenant="other"),
        _call("save", "2", text="b", is_admin=True),
        _call("read", "3", user="boss"),
    ]
    tools = [Post(), save, read]
    messages = run(_model(AIMessage("", tool_calls=calls), AIMessage("done")), "go", tools)
    posted, saved, mail = sorted(messages[2:5], key=lambda one: one.tool_call_id)
    assert [posted.text, saved.text] == ["a for own", "b as user"]
    assert mail.status == "error"
    assert "boss" not in mail.text


def test_a_tool_has_the_bound_of_the_loop_and_not_the_number_of_its_calls(
    run: Callable[..., Any],
) -> None:
    seen: list[Any] = []

    @tool
    def look(config: RunnableConfig) -> str:
        """Look at the config."""
        seen.append((config.get("max_concurrency"), config.get("run_id"), config.get("run_name")))
        seen.append(ensure_config().get("max_concurrency"))
        return "x"

    def ask(**config: Any) -> None:
        model = _model(AIMessage("", tool_calls=[_call("look")]), AIMessage("done"))
        run(model, "go", [look], config=config)

    ask(run_id=uuid4(), run_name="mine")
    ask(max_concurrency=7)
    assert seen == [(None, None, None), None, (7, None, None), 7]


def test_one_run_of_the_loop_has_the_id_and_the_name_of_its_config(run: Callable[..., Any]) -> None:
    class Runs(BaseCallbackHandler):
        def __init__(self) -> None:
            self.ids: list[Any] = []
            self.names: list[Any] = []

        def on_chat_model_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
            self.ids.append(run_id)
            self.names.append(kwargs.get("name"))

        def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
            self.ids.append(run_id)
            self.names.append(kwargs.get("name"))

    runs, run_id = Runs(), uuid4()
    calls = [_call("multiply", str(number), a=number, b=2) for number in range(2)]
    model = _model(AIMessage("", tool_calls=calls), AIMessage("done"))
    config = {"run_id": run_id, "run_name": "mine", "callbacks": [runs]}
    run(model, "go", [multiply], config=config)
    assert (runs.ids[0], runs.names[0]) == (run_id, "mine")
    assert len(set(runs.ids)) == 4
    assert "mine" not in runs.names[1:]


def test_two_calls_of_one_id_are_run_and_may_be_passed_in_again(run: Callable[..., Any]) -> None:
    calls = [_call("multiply", "same", a=1, b=2), _call("multiply", "same", a=3, b=2)]
    messages = run(_model(AIMessage("", tool_calls=calls), AIMessage("done")), "go", [multiply])
    # A stream yields the results in the order in which the tools end.
    texts = {one.tool_call_id: one.text for one in messages[2:4]}
    assert [texts[call["id"]] for call in messages[1].tool_calls] == ["2", "6"]
    assert run(_model(AIMessage("again")), messages, [multiply])[-1].text == "again"


def test_a_history_with_one_id_twice_is_taken(run: Callable[..., Any]) -> None:
    calls = [_call("multiply", "same", a=1, b=2), _call("multiply", "same", a=3, b=2)]
    answers = [ToolMessage("2", tool_call_id="same"), ToolMessage("6", tool_call_id="same")]
    history = [HumanMessage("go"), AIMessage("", tool_calls=calls), *answers]
    assert run(_model(AIMessage("done")), history, [multiply])[-1].text == "done"
    half_done = run(_model(AIMessage("done")), history[:-1], [multiply])
    assert [one.text for one in half_done[2:]] == ["2", "6", "done"]


def test_an_exception_without_a_text_goes_to_the_model(run: Callable[..., Any]) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @tool
    def fail() -> str:
        """Fail."""
        raise Unprintable

    messages = run(
        _model(AIMessage("", tool_calls=[_call("fail")]), AIMessage("done")), "go", [fail]
    )
    assert messages[2].text.startswith("Unprintable: its message cannot be read")
    assert messages[-1].text == "done"


def test_a_call_that_cannot_be_read_and_has_no_id_is_no_end(run: Callable[..., Any]) -> None:
    unread: Any = {"name": "multiply", "args": '{"a": 1,', "id": None, "error": None}
    answer = AIMessage("", invalid_tool_calls=[{**unread, "type": "invalid_tool_call"}])
    messages = run(_model(answer, AIMessage("done")), "go", [multiply])
    assert messages[2].status == "error"
    assert messages[2].tool_call_id == messages[1].invalid_tool_calls[0]["id"]
    assert messages[-1].text == "done"


def test_a_tool_that_is_gone_takes_what_it_closes_over_with_it() -> None:
    class Large:
        pass

    def make() -> Any:
        large = Large()

        @tool
        def hold() -> str:
            """Hold an object."""
            return str(large)

        hold.invoke({})
        return hold, weakref.ref(large)

    made, alive = make()
    del made
    gc.collect()
    assert alive() is None


def test_a_call_without_an_id_gets_one(run: Callable[..., Any]) -> None:
    call: Any = {"name": "multiply", "args": {"a": 2, "b": 2}, "id": None}
    messages = run(_model(AIMessage("", tool_calls=[call]), AIMessage("4")), "go", [multiply])
    assert messages[1].tool_calls[0]["id"] == messages[2].tool_call_id
    assert messages[2].text == "4"
