from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType, MissingVariable
from modelwire.messages import HumanMessage
from modelwire.prompt_values import StringPromptValue
from modelwire.prompts import PromptTemplate, StringPromptTemplate


def test_a_prompt_turns_variables_into_a_prompt_value(colour: Any) -> None:
    prompt = PromptTemplate.from_template("Say {what} to {who}.")
    value = colour.invoke(prompt, {"what": "hi", "who": "me", "extra": 1})
    assert value == StringPromptValue(text="Say hi to me.")
    assert value.to_messages() == [HumanMessage("Say hi to me.")]
    assert prompt.format(what="hi", who="me") == "Say hi to me."


def test_one_variable_takes_any_input_as_its_value(colour: Any) -> None:
    prompt = PromptTemplate.from_template("<{x}>")
    assert colour.invoke(prompt, "a").text == "<a>"
    assert colour.invoke(prompt, None).text == "<None>"
    assert colour.batch(prompt, ["a", "b"]) == [
        StringPromptValue(text="<a>"),
        StringPromptValue(text="<b>"),
    ]


def test_a_missing_variable_is_named_with_those_given(colour: Any) -> None:
    prompt = PromptTemplate.from_template("{a} {b} {c}")
    with pytest.raises(MissingVariable) as caught:
        colour.invoke(prompt, {"a": 1, "z": 2})
    text = str(caught.value)
    assert "missing variables ['b', 'c']" in text
    assert "Received: ['a', 'z']" in text
    assert "{{b}}" in text
    assert isinstance(caught.value, KeyError)


def test_format_names_the_missing_variable_too() -> None:
    with pytest.raises(MissingVariable, match=r"missing variables \['b'\]"):
        PromptTemplate.from_template("{a} {b}").format(a=1)


def test_a_value_that_raises_a_key_error_is_not_taken_for_a_missing_variable() -> None:
    class Odd:
        def __format__(self, spec: str) -> str:
            return {}[spec]

    with pytest.raises(KeyError) as caught:
        PromptTemplate.from_template("{a}").format(a=Odd())
    assert not isinstance(caught.value, MissingVariable)


@pytest.mark.parametrize("wrong", ["text", 3, None, ["x"]])
def test_an_input_that_is_no_mapping_is_refused(colour: Any, wrong: Any) -> None:
    with pytest.raises(
        InvalidType, match="Expected a mapping type as input to `PromptTemplate`"
    ) as caught:
        colour.invoke(PromptTemplate.from_template("{a}{b}"), wrong)
    assert isinstance(caught.value, TypeError)


def test_input_variables_are_sorted_and_found_in_the_text() -> None:
    prompt = PromptTemplate(template="{b}{a}{b}", input_variables=["whatever"])
    assert prompt.input_variables == ["a", "b"]


def test_partial_variables_are_given_once_or_made_each_time(colour: Any) -> None:
    made = iter("12")
    prompt = PromptTemplate.from_template("{a}{b}{c}").partial(a="A", b=lambda: next(made))
    assert prompt.input_variables == ["c"]
    assert [colour.invoke(prompt, {"c": "C"}).text for _ in range(2)] == ["A1C", "A2C"]
    assert colour.invoke(prompt, {"c": "C", "a": "given", "b": "too"}).text == "giventooC"


def test_partial_leaves_the_first_prompt_as_it_was() -> None:
    prompt = PromptTemplate.from_template("{a}{b}")
    prompt.partial(a="A")
    assert (prompt.input_variables, prompt.partial_variables) == (["a", "b"], {})


def test_prompts_add_up() -> None:
    total = (
        PromptTemplate.from_template("{a}")
        + "-{b}"
        + PromptTemplate.from_template("{c}", partial_variables={"c": 3})
    )
    assert total.input_variables == ["a", "b"]
    assert total.format(a=1, b=2) == "1-23"


def test_prompts_that_do_not_fit_do_not_add_up() -> None:
    first = PromptTemplate.from_template("{a}", partial_variables={"a": 1})
    with pytest.raises(InvalidArgument, match=r"\['a'\]"):
        first + PromptTemplate.from_template("{a}", partial_variables={"a": 2})
    with pytest.raises(TypeError):
        first + 3  # type: ignore[operator]


def test_validation_compares_the_template_with_what_was_said() -> None:
    with pytest.raises(InvalidTemplate, match=r"check for mismatched.*from \['z'\]"):
        PromptTemplate(template="{a}", input_variables=["z"], validate_template=True)
    assert PromptTemplate(
        template="{a}", input_variables=["a"], validate_template=True
    ).input_variables == ["a"]


def test_a_prompt_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes("Grüße an {wen}".encode())
    assert PromptTemplate.from_file(path).format(wen="alle") == "Grüße an alle"
    path.write_bytes("Grüße an {wen}".encode("latin-1"))
    assert PromptTemplate.from_file(path, encoding="latin-1").format(wen="alle") == "Grüße an alle"


def test_examples_stand_between_prefix_and_suffix() -> None:
    prompt = PromptTemplate.from_examples(
        ["a", "b"], "{x}", ["x"], prefix="p", example_separator="|"
    )
    assert prompt.format(x="q") == "p|a|b|q"


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copies_are_equal_and_work(clone: Any) -> None:
    prompt = PromptTemplate.from_template("{a}", name="mine", partial_variables={"z": 1})
    twin = clone(prompt)
    assert twin == prompt
    assert twin.format(a="x") == "x"
    assert twin.get_name() == "mine"


def test_a_changed_template_is_read_again() -> None:
    prompt = PromptTemplate.from_template("{a}")
    prompt.template = "<{a}>"
    assert prompt.format(a=1) == "<1>"
    assert prompt.model_copy(update={"template": "[{a}]"}).format(a=1) == "[1]"


def test_a_prompt_of_the_users_own_needs_only_format(colour: Any) -> None:
    class Shout(StringPromptTemplate):
        mark: str = "!"

        def format(self, **kwargs: Any) -> str:
            return f"{kwargs['x']}{self.mark}".upper()

    prompt = Shout(input_variables=["x"], mark="?")
    assert colour.invoke(prompt, {"x": "hi"}).text == "HI?"
    assert prompt.pretty_repr() == "{X}?"


def test_a_subclass_may_have_fields_and_its_own_format(colour: Any) -> None:
    class Named(PromptTemplate):
        suffix: str

        def format(self, **kwargs: Any) -> str:
            return super().format(**kwargs) + self.suffix

    assert colour.invoke(Named(template="{x}", suffix="!"), {"x": "hi"}).text == "hi!"
    with pytest.raises(InvalidArgument, match="Named"):
        Named(template="{x}", suffix=3)


def test_a_prompt_is_heard_as_a_prompt_with_its_own_tags(colour: Any) -> None:
    from modelwire.callbacks import BaseCallbackHandler

    heard: list[Any] = []

    class Ear(BaseCallbackHandler):
        run_inline = True

        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            heard.append(
                (kwargs["name"], kwargs["run_type"], inputs, kwargs["tags"], kwargs["metadata"])
            )

        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            heard.append(outputs)

        def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
            heard.append(type(error))

    prompt = PromptTemplate.from_template("{a}", tags=["own"], metadata={"k": 1})
    colour.invoke(prompt, {"a": 1}, {"callbacks": [Ear()], "tags": ["given"]})
    assert heard == [
        ("PromptTemplate", "prompt", {"a": 1}, ["given", "own"], {"k": 1}),
        StringPromptValue(text="1"),
    ]
    heard.clear()
    with pytest.raises(MissingVariable):
        colour.invoke(prompt, {}, {"callbacks": [Ear()]})
    assert heard[1:] == [MissingVariable]


def test_the_repr_says_what_matters() -> None:
    assert (
        repr(PromptTemplate.from_template("{a}"))
        == "PromptTemplate(input_variables=['a'], template='{a}')"
    )
    assert PromptTemplate.from_template("{a}").asdict()["_type"] == "prompt"
