from __future__ import annotations

import copy
from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType, MissingVariable
from modelwire.messages import HumanMessage
from modelwire.prompt_values import ImagePromptValue
from modelwire.prompts import (
    ChatPromptTemplate,
    DictPromptTemplate,
    HumanMessagePromptTemplate,
    PromptTemplate,
)
from modelwire.prompts.image import ImagePromptTemplate


def test_an_image_prompt_becomes_an_image(colour: Any) -> None:
    prompt = ImagePromptTemplate(template={"url": "https://x.test/{name}.png", "detail": "{how}"})
    assert prompt.input_variables == ["how", "name"]
    value = colour.invoke(prompt, {"name": "a", "how": "low"})
    assert isinstance(value, ImagePromptValue)
    assert value.to_string() == "https://x.test/a.png"
    block = {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}
    assert value.to_messages() == [HumanMessage([block])]
    assert (
        copy.deepcopy(prompt).partial(how="low").format(name="b")["url"] == "https://x.test/b.png"
    )
    assert ImagePromptTemplate().format(url="data:image/png;base64,eA==") == {
        "url": "data:image/png;base64,eA=="
    }


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: ImagePromptTemplate(template={"url": "https://x/{i.__class__}"}),
            "cannot contain attribute access",
        ),
        (lambda: ImagePromptTemplate(template={"url": "{url}"}), "cannot contain any of 'url'"),
        (lambda: ImagePromptTemplate().format(), "Must provide url"),
        (
            lambda: ImagePromptTemplate(template={"path": "/etc/{p}"}).format(p="passwd"),
            "reads no files",
        ),
        (lambda: ImagePromptTemplate().format(url=3), "must be a string"),
        (lambda: ImagePromptTemplate(template={"url": "{a}"}, tags=3), "cannot be created"),
    ],
)
def test_what_is_no_image_is_refused(make: Any, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        make()


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(MissingVariable, match="data"):
        ImagePromptTemplate(template={"url": "{data}"}).format()
    with pytest.raises(MissingVariable, match="data"):
        DictPromptTemplate({"url": "{data}"}).format()


def test_a_dict_prompt_fills_strings_at_any_depth(colour: Any) -> None:
    template = {"type": "x", "mixed": ["a {v}", 1, 2.5, None, True, {"k": "{v}"}]}
    prompt = DictPromptTemplate(template)
    assert prompt.input_variables == ["v"]
    assert colour.invoke(prompt, {"v": "b"}) == {
        "type": "x",
        "mixed": ["a b", 1, 2.5, None, True, {"k": "b"}],
    }
    assert DictPromptTemplate({"n": ["{{v}}"]}, template_format="mustache").format(v=1) == {
        "n": ["1"]
    }
    assert template["mixed"][0] == "a {v}"
    with pytest.raises(InvalidType, match="mapping"):
        colour.invoke(prompt, "b")
    with pytest.raises(InvalidType, match="must be a dict"):
        DictPromptTemplate("text")  # type: ignore[arg-type]
    with pytest.raises(InvalidTemplate, match="attribute access"):
        DictPromptTemplate({"a": "{b.c}"})


def test_a_message_is_made_of_prompts_of_blocks() -> None:
    template = HumanMessagePromptTemplate(
        prompt=[
            PromptTemplate.from_template("{text}"),
            ImagePromptTemplate(template={"url": "{data}"}),
            DictPromptTemplate({"type": "custom", "value": "{text}"}),
        ]
    )
    assert template.input_variables == ["text", "data"]
    message = (
        ChatPromptTemplate([template])
        .invoke({"text": "hi", "data": "https://x.test"})
        .to_messages()[0]
    )
    assert message.content == [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": "https://x.test"}},
        {"type": "custom", "value": "hi"},
    ]
    with pytest.raises(InvalidType, match="must hold prompt templates, not a `ChatPromptTemplate`"):
        HumanMessagePromptTemplate(prompt=[ChatPromptTemplate([])])
