from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType, MissingVariable
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from modelwire.prompt_values import ChatPromptValue
from modelwire.prompts import (
    AIMessagePromptTemplate,
    BaseChatPromptTemplate,
    BaseMessagePromptTemplate,
    ChatMessagePromptTemplate,
    ChatPromptTemplate,
    HumanMessagePromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
    SystemMessagePromptTemplate,
)


def test_every_form_of_a_message_can_stand_in_the_list(colour: Any) -> None:
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "s {x}"),
            ("human", "h {x}"),
            ("user", "u {x}"),
            ("ai", "a {x}"),
            ("assistant", "b {x}"),
            (SystemMessage, "c {x}"),
            "bare {x}",
            {"role": "user", "content": "d {x}"},
            AIMessage("raw {x}"),
            HumanMessagePromptTemplate.from_template("t {x}"),
            ChatMessagePromptTemplate.from_template("r {x}", role="joe"),
            ("placeholder", "{some}"),
            MessagesPlaceholder("history"),
            ChatPromptTemplate.from_template("nested {y}"),
        ]
    )
    assert prompt.input_variables == ["history", "x", "y"]
    assert prompt.optional_variables == ["some"]
    value = colour.invoke(
        prompt, {"x": "{x}", "y": 2, "history": ["one", ("ai", "two"), HumanMessage("three")]}
    )
    assert value.messages == [
        SystemMessage("s {x}"),
        HumanMessage("h {x}"),
        HumanMessage("u {x}"),
        AIMessage("a {x}"),
        AIMessage("b {x}"),
        SystemMessage("c {x}"),
        HumanMessage("bare {x}"),
        HumanMessage("d {x}"),
        AIMessage("raw {x}"),
        HumanMessage("t {x}"),
        ChatMessage("r {x}", role="joe"),
        HumanMessage("one"),
        AIMessage("two"),
        HumanMessage("three"),
        HumanMessage("nested 2"),
    ]


def test_templates_stand_inside_content_blocks(colour: Any) -> None:
    prompt = ChatPromptTemplate(
        [
            (
                "human",
                [
                    "plain {p}",
                    {"type": "text", "text": "t {p}"},
                    {"type": "text", "text": "c {p}", "cache_control": {"type": "{kind}"}},
                    {"type": "image_url", "image_url": "{url}"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,{data}", "detail": "low"},
                    },
                    {
                        "type": "image",
                        "source_type": "base64",
                        "data": "{data}",
                        "metadata": {"tags": ["{p}"], "n": 3},
                    },
                ],
            )
        ]
    )
    assert prompt.input_variables == ["data", "kind", "p", "url"]
    values = {"p": "P{x}", "kind": "ephemeral", "url": "https://x/y.png", "data": "AAA="}
    (message,) = colour.invoke(prompt, values).messages
    assert message == HumanMessage(
        content=[
            {"type": "text", "text": "plain P{x}"},
            {"type": "text", "text": "t P{x}"},
            {"type": "text", "text": "c P{x}", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AAA=", "detail": "low"},
            },
            {
                "type": "image",
                "source_type": "base64",
                "data": "AAA=",
                "metadata": {"tags": ["P{x}"], "n": 3},
            },
        ]
    )


@pytest.mark.parametrize(
    ("message", "error", "why"),
    [
        (("foo", "x"), InvalidArgument, "Unexpected message type: `foo`"),
        (("sytem", "x"), InvalidArgument, "Did you mean `system`"),
        (("tool", "x"), InvalidArgument, "Unexpected message type"),
        ((ToolMessage, "x"), InvalidArgument, "Unexpected message type: `tool`"),
        ((int, "x"), InvalidArgument, "Unexpected message type"),
        ((3, "x"), InvalidArgument, "Unexpected message type: a `int`"),
        (("a", "b", "c"), InvalidArgument, "2-tuple"),
        (3, InvalidType, "Unsupported message type: `int`"),
        (None, InvalidType, "Unsupported message type"),
        (PromptTemplate.from_template("x"), InvalidType, "HumanMessagePromptTemplate"),
        (("human", 3), InvalidTemplate, "Invalid template"),
        (("human", None), InvalidTemplate, "Invalid template"),
        (("human", {"type": "text", "text": "x"}), InvalidTemplate, "list of content blocks"),
        (("human", [3]), InvalidTemplate, "a content block is a text or a dict"),
        (
            ("human", [{"type": "image_url", "image_url": {"path": "/etc/passwd"}}]),
            InvalidTemplate,
            "files are not read",
        ),
        (("human", "{a.__class__}"), InvalidTemplate, "Invalid variable name"),
        (("human", [{"type": "image", "url": "{a[0]}"}]), InvalidTemplate, "Invalid variable name"),
        (("placeholder", "h"), InvalidTemplate, "curly braces"),
        (("placeholder", "{}"), InvalidTemplate, "curly braces"),
        (("placeholder", 3), InvalidTemplate, "curly braces"),
        ({"role": "user"}, InvalidArgument, "`role` and `content`"),
        ({"role": "user", "content": "x", "more": 1}, InvalidArgument, "`role` and `content`"),
    ],
)
def test_what_cannot_be_a_message_is_refused_when_the_prompt_is_made(
    message: Any, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        ChatPromptTemplate([message])


@pytest.mark.parametrize("messages", [3, None, HumanMessage("x"), {"role": "user", "content": "x"}])
def test_messages_that_are_no_list_are_refused(messages: Any) -> None:
    with pytest.raises(InvalidType, match="must be a list"):
        ChatPromptTemplate(messages)


def test_an_unknown_template_format_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="Unsupported template format: bar"):
        ChatPromptTemplate.from_messages([("human", "x")], template_format="bar")


def test_a_missing_variable_is_named(colour: Any) -> None:
    prompt = ChatPromptTemplate([("human", "{a} {b}"), MessagesPlaceholder("c")])
    with pytest.raises(
        MissingVariable, match=r"`ChatPromptTemplate` is missing variables \['b', 'c'\]"
    ):
        colour.invoke(prompt, {"a": 1})
    with pytest.raises(MissingVariable, match=r"missing variables \['b', 'c'\]"):
        colour.run(lambda: prompt.format_messages(a=1), lambda: prompt.aformat_messages(a=1))


def test_one_variable_takes_any_input_as_its_value(colour: Any) -> None:
    assert colour.invoke(ChatPromptTemplate([("human", "<{a}>")]), "v").messages == [
        HumanMessage("<v>")
    ]
    history = ChatPromptTemplate([MessagesPlaceholder("h")])
    assert colour.invoke(history, [HumanMessage("x")]).messages == [HumanMessage("x")]
    with pytest.raises(InvalidType, match="mapping"):
        colour.invoke(ChatPromptTemplate([("human", "{a}{b}")]), "v")


def test_a_placeholder_takes_the_last_n_messages_of_a_list() -> None:
    place = MessagesPlaceholder("h", n_messages=2)
    assert place.format_messages(h=["a", "b", "c"]) == [HumanMessage("b"), HumanMessage("c")]
    assert MessagesPlaceholder("h", optional=True).format_messages() == []
    with pytest.raises(MissingVariable, match=r"\['h'\]"):
        place.format_messages()
    for wrong in ("x", HumanMessage("x"), None, 3):
        with pytest.raises(InvalidType, match="Variable `h` should be a list of base messages"):
            place.format_messages(h=wrong)
    with pytest.raises(ValueError, match=r"int"):
        place.format_messages(h=[3])


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, InvalidArgument), (-1, InvalidArgument), ("2", InvalidType), (True, InvalidType)],
)
def test_a_placeholder_of_no_messages_is_refused(n: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n_messages"):
        MessagesPlaceholder("h", n_messages=n)


def test_an_optional_placeholder_may_be_left_out_or_made_required() -> None:
    assert ChatPromptTemplate([("placeholder", "{h}")]).invoke({}).to_messages() == []
    assert ChatPromptTemplate([("placeholder", ["{h}", False])]).input_variables == ["h"]


def test_partial_variables_are_given_once_or_made_each_time(colour: Any) -> None:
    made = iter("12")
    prompt = ChatPromptTemplate([("system", "{a}{b}"), ("human", "{c}"), MessagesPlaceholder("h")])
    partial = prompt.partial(a="A", b=lambda: next(made), h=[AIMessage("x")])
    assert partial.input_variables == ["c"]
    first = colour.invoke(partial, {"c": 1}).messages
    second = colour.invoke(partial, "direct").messages
    assert first == [SystemMessage("A1"), HumanMessage("1"), AIMessage("x")]
    assert second == [SystemMessage("A2"), HumanMessage("direct"), AIMessage("x")]
    assert prompt.input_variables == ["a", "b", "c", "h"]


def test_a_partial_prompt_grows_by_itself() -> None:
    prompt = ChatPromptTemplate(["{a}{b}"])
    partial = prompt.partial(a=1)
    partial.append("{c}")
    assert (len(prompt), len(partial)) == (1, 2)
    assert (prompt.input_variables, partial.input_variables) == (["a", "b"], ["b", "c"])


def test_partials_of_pieces_are_kept(colour: Any) -> None:
    piece = HumanMessagePromptTemplate.from_template("{a}{b}", partial_variables={"a": "1"})
    nested = ChatPromptTemplate([("human", "{a}{c}")]).partial(a="9")
    prompt = ChatPromptTemplate([piece, nested])
    assert prompt.input_variables == ["b", "c"]
    assert [m.text for m in colour.invoke(prompt, {"b": 2, "c": 3}).messages] == ["12", "93"]


def test_prompts_grow_by_plus_append_and_extend() -> None:
    prompt = ChatPromptTemplate([("human", "{a}")])
    total = (
        prompt
        + "x {b}"
        + AIMessage("q")
        + ("ai", "y {c}")
        + [("human", "c {d}"), "e"]
        + ChatPromptTemplate(["{f}"])
    )
    assert total.input_variables == ["a", "b", "c", "d", "f"]
    assert [m.type for m in total.format_messages(a=1, b=1, c=1, d=1, f=1)] == [
        "human",
        "human",
        "ai",
        "ai",
        "human",
        "human",
        "human",
    ]
    prompt.append(("ai", "{g}"))
    prompt.extend([MessagesPlaceholder("h"), ("placeholder", "{i}")])
    assert (prompt.input_variables, prompt.optional_variables) == (["a", "g", "h"], ["i"])
    assert len(prompt) == 4
    with pytest.raises(TypeError):
        prompt + 3
    begun = SystemMessagePromptTemplate.from_template("s{x}") + "h{y}"
    assert [type(m) for m in begun.format_messages(x=1, y=2)] == [SystemMessage, HumanMessage]


def test_a_message_begins_a_prompt() -> None:
    prompt = SystemMessage("literal {braces}") + HumanMessage("hi") + "{question}"
    assert prompt.input_variables == ["question"]
    assert prompt.format_messages(question="?")[0] == SystemMessage("literal {braces}")


def test_partials_of_both_sides_of_a_plus_are_kept() -> None:
    total = ChatPromptTemplate(["{a}"]).partial(a=1) + ChatPromptTemplate(["{b}"]).partial(b=2)
    assert [m.text for m in total.format_messages()] == ["1", "2"]


def test_slices_are_prompts_and_indices_are_pieces() -> None:
    prompt = ChatPromptTemplate([("system", "{a}"), ("human", "{b}"), ("ai", "{c}")])
    assert prompt[1:].input_variables == ["b", "c"]
    assert prompt[:1] == ChatPromptTemplate([("system", "{a}")])
    assert isinstance(prompt[-1], AIMessagePromptTemplate)
    assert (len(prompt), bool(ChatPromptTemplate([]))) == (3, True)
    prompt[1:].append("{d}")
    assert len(prompt) == 3


def test_declared_variables_are_compared_when_asked() -> None:
    with pytest.raises(
        InvalidTemplate, match=r"Got mismatched input_variables. Expected: \{'a'\}. Got: \['b'\]"
    ):
        ChatPromptTemplate([("human", "{a}")], input_variables=["b"], validate_template=True)
    assert ChatPromptTemplate([("human", "{a}")], input_variables=["b"]).input_variables == ["a"]


def test_format_gives_text_with_roles(colour: Any) -> None:
    prompt = ChatPromptTemplate([("human", "{a}"), ("ai", "b")])
    assert colour.run(lambda: prompt.format(a=1), lambda: prompt.aformat(a=1)) == "Human: 1\nAI: b"


def test_pieces_of_the_users_own_take_part_in_both_colours(colour: Any) -> None:
    class Twice(BaseMessagePromptTemplate):
        @property
        def input_variables(self) -> list[str]:
            return ["x"]

        def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
            return [HumanMessage(f"sync {kwargs}")] * 2

        async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
            return [HumanMessage(f"async {kwargs}")] * 2

    for prompt in (
        ChatPromptTemplate([Twice(), "{y}"]),
        ChatPromptTemplate([ChatPromptTemplate([Twice(), "{y}"])]),
    ):
        texts = [m.text for m in colour.invoke(prompt, {"x": 1, "y": 2}).messages]
        assert texts == [f"{colour.name} {{'x': 1}}"] * 2 + ["2"]


def test_a_chat_prompt_of_the_users_own_needs_only_format_messages(colour: Any) -> None:
    class Mine(BaseChatPromptTemplate):
        def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
            return [HumanMessage(kwargs["x"])]

        def pretty_repr(self, html: bool = False) -> str:
            return "mine"

    mine = Mine(input_variables=["x"])
    assert colour.invoke(mine, {"x": "a"}).messages == [HumanMessage("a")]
    assert colour.invoke(ChatPromptTemplate([mine, "b"]), "a").messages == [
        HumanMessage("a"),
        HumanMessage("b"),
    ]


def test_a_subclass_that_formats_its_own_way_is_asked(colour: Any) -> None:
    class Polite(ChatPromptTemplate):
        def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
            return [*super().format_messages(**kwargs), HumanMessage("please")]

        async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
            return self.format_messages(**kwargs)

    assert [m.text for m in colour.invoke(Polite([("human", "{a}")]), "x").messages] == [
        "x",
        "please",
    ]


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copies_are_equal_and_work(clone: Any) -> None:
    prompt = ChatPromptTemplate(
        [("system", "{a}"), MessagesPlaceholder("h"), ("human", [{"type": "x", "y": "{b}"}])]
    )
    twin = clone(prompt)
    assert twin == prompt
    values: dict[str, Any] = {"a": 1, "h": [AIMessage("m")], "b": 2}
    assert twin.invoke(values) == prompt.invoke(values)
    assert prompt != ChatPromptTemplate([("system", "{a}")])


def test_prompt_messages_are_fresh_each_time() -> None:
    template = HumanMessagePromptTemplate.from_template("{a}", additional_kwargs={"k": [1]})
    prompt = ChatPromptTemplate([template, ("human", [{"type": "x", "y": "{a}"}])])
    first, second = prompt.invoke("v"), prompt.invoke("v")
    first.messages[0].additional_kwargs["k2"] = 1
    first.messages[1].content[0]["y"] = "changed"  # type: ignore[index, call-overload]
    assert second.messages[0].additional_kwargs == {"k": [1]}
    assert second.messages[1].content == [{"type": "x", "y": "v"}]


def test_values_of_any_name_are_taken(colour: Any) -> None:
    prompt = ChatPromptTemplate([("human", "{self} {values} {kwargs} {user-name}")])
    values = {"self": 1, "values": 2, "kwargs": 3, "user-name": 4}
    assert colour.invoke(prompt, values).messages[0].text == "1 2 3 4"


@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "human", "ai"]), st.text(max_size=10)), max_size=5
    )
)
def test_escaped_texts_come_out_as_they_went_in(rows: list[tuple[str, str]]) -> None:
    doubled = [(role, text.replace("{", "{{").replace("}", "}}")) for role, text in rows]
    messages = ChatPromptTemplate(doubled).invoke({}).to_messages()
    assert [(message.type, message.content) for message in messages] == rows


def test_the_pretty_form_shows_variables_in_braces() -> None:
    shown = ChatPromptTemplate([("human", "hello {a}"), MessagesPlaceholder("h")]).pretty_repr()
    assert "Human Message" in shown
    assert "hello {a}" in shown
    assert shown.endswith("{h}")


def test_the_value_shows_text_and_gives_a_list_of_its_own() -> None:
    value = ChatPromptValue(messages=[HumanMessage("x"), AIMessage("y")])
    assert value.to_string() == "Human: x\nAI: y"
    value.to_messages().append(HumanMessage("z"))
    assert len(value.messages) == 2


def test_a_prompt_composes_with_what_follows(colour: Any) -> None:
    chain = ChatPromptTemplate([("human", "{a}")]) | (lambda value: value.to_string())
    assert colour.invoke(chain, "x") == "Human: x"
    assert colour.batch(chain, [{"a": 1}, {"a": 2}]) == ["Human: 1", "Human: 2"]


def test_input_variables_of_a_messages_template_have_no_effect() -> None:
    made = SystemMessagePromptTemplate.from_template("a {x}", input_variables=["x", "y"])
    assert made.input_variables == ["x"]
    assert made.format(x=1).text == "a 1"
