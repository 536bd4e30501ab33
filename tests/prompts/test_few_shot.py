from __future__ import annotations

from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType, MissingVariable
from modelwire.messages import AIMessage, HumanMessage, SystemMessage
from modelwire.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    PromptTemplate,
    SystemMessagePromptTemplate,
)

PAIR = PromptTemplate.from_template("{q}: {a}")
EXAMPLES = [{"q": "2+2", "a": "4", "source": "unused"}, {"q": "2+3", "a": "5"}]


class ByLength:
    """Gives the examples that are no longer than the question."""

    def select_examples(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        return [example for example in EXAMPLES if len(example["q"]) <= len(variables["q"])]


class OnlyAsync:
    async def aselect_examples(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        return EXAMPLES[1:]


def test_examples_stand_between_prefix_and_suffix(colour: Any) -> None:
    prompt = FewShotPromptTemplate(
        examples=EXAMPLES,
        example_prompt=PAIR,
        prefix="Add {what}.",
        suffix="{q}:",
        example_separator="\n",
    )
    assert prompt.input_variables == ["q", "what"]
    assert (
        colour.invoke(prompt, {"what": "up", "q": "1+1"}).to_string()
        == "Add up.\n2+2: 4\n2+3: 5\n1+1:"
    )
    assert (
        colour.invoke(prompt.partial(what="up"), {"q": "1"}).to_string()
        == "Add up.\n2+2: 4\n2+3: 5\n1:"
    )
    with pytest.raises(MissingVariable, match="what"):
        colour.invoke(prompt, {"q": "1"})


def test_a_selector_picks_by_the_input(colour: Any) -> None:
    prompt = FewShotPromptTemplate(example_selector=ByLength(), example_prompt=PAIR, suffix="{q}")
    assert colour.invoke(prompt, {"q": "1"}).to_string() == "1"
    assert colour.invoke(prompt, {"q": "1+1"}).to_string() == "2+2: 4\n\n2+3: 5\n\n1+1"


def test_templates_of_other_formats_are_joined() -> None:
    prompt = FewShotPromptTemplate(
        examples=EXAMPLES, example_prompt=PAIR, suffix="{{ q }}!", template_format="jinja2"
    )
    assert prompt.format(q="{x}").endswith("{x}!")


def test_examples_of_a_chat_are_messages(colour: Any) -> None:
    pair = ChatPromptTemplate([("human", "{q}"), ("ai", "{a}")])
    shots = FewShotChatMessagePromptTemplate(examples=EXAMPLES, example_prompt=pair)
    assert shots.input_variables == []
    prompt = SystemMessagePromptTemplate.from_template("Add.") + shots + ("human", "{q}")
    assert prompt.input_variables == ["q"]
    assert colour.invoke(prompt, {"q": "1+1"}).to_messages() == [
        SystemMessage("Add."),
        HumanMessage("2+2"),
        AIMessage("4"),
        HumanMessage("2+3"),
        AIMessage("5"),
        HumanMessage("1+1"),
    ]
    assert (shots + "{q}").input_variables == ["q"]
    assert "{q}" in prompt.pretty_repr()


def test_a_selector_may_be_async_only() -> None:
    import asyncio

    pair = ChatPromptTemplate([("human", "{q}"), ("ai", "{a}")])
    shots = FewShotChatMessagePromptTemplate(
        example_selector=OnlyAsync(), example_prompt=pair, input_variables=["q"]
    )
    prompt = ChatPromptTemplate([shots, ("human", "{q}")])
    messages = asyncio.run(prompt.ainvoke({"q": "1"})).to_messages()
    assert [message.content for message in messages] == ["2+3", "5", "1"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"suffix": ""}, InvalidArgument),
        ({"suffix": "", "examples": [], "example_selector": ByLength()}, InvalidArgument),
        ({"suffix": "", "example_selector": 3}, InvalidType),
        ({"suffix": "{a.b}", "examples": []}, InvalidTemplate),
        (
            {"suffix": "{a}", "examples": [], "input_variables": [], "validate_template": True},
            InvalidTemplate,
        ),
        ({"suffix": "", "examples": "text"}, InvalidArgument),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        FewShotPromptTemplate(example_prompt=PAIR, **fields)


def test_examples_of_a_chat_need_a_chat_prompt() -> None:
    with pytest.raises(InvalidType, match="example_prompt"):
        FewShotChatMessagePromptTemplate(examples=[], example_prompt=PAIR)  # type: ignore[arg-type]
