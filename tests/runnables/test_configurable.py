"""`configurable_fields`, `configurable_alternatives`: the config of a call changes what runs."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest
from pydantic import Field, model_validator

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.prompts import PromptTemplate
from modelwire.runnables import (
    ConfigurableField,
    ConfigurableFieldMultiOption,
    ConfigurableFieldSingleOption,
    ConfigurableFieldSpec,
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableSerializable,
)
from modelwire.runnables.configurable import RunnableDeclared
from modelwire.runnables.fields import get_unique_config_specs


class Echo(RunnableSerializable[str, str]):
    word: str = "a"
    times: int = 1
    _checked: bool = False

    @model_validator(mode="after")
    def _check(self) -> Echo:
        self._checked = True
        return self

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return f"{input}{self.word * self.times}{kwargs.get('end', '')}"

    def shout(self) -> str:
        return self.word.upper()

    def told(self, config: RunnableConfig | None = None) -> str:
        return f"{self.word} {(config or {}).get('tags')}"

    def ending(self, end: str) -> Runnable[str, str]:
        return self.bind(end=end)


class Other(RunnableSerializable[str, str]):
    letter: str = "o"

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return f"{self.letter}{input}{kwargs.get('end', '')}"

    def ending(self, end: str) -> Runnable[str, str]:
        return self.bind(end=end)


def set_to(**values: Any) -> RunnableConfig:
    return {"configurable": values}


word = ConfigurableField(id="the_word", name="Word", description="What is said")
fields = Echo().configurable_fields(word=word)
which = ConfigurableField(id="which", name="Which")


# ---------------------------------------------------------------- fields


def test_a_field_comes_from_the_config_of_the_call(colour: Any) -> None:
    assert colour.invoke(fields, "x") == "xa"
    assert colour.invoke(fields, "x", set_to(the_word="b")) == "xb"
    assert colour.stream(fields, "x", set_to(the_word="b")) == ["xb"]
    assert colour.transform(fields, ["x", "y"], set_to(the_word="b")) == ["xyb"]
    assert colour.batch(fields, ["x", "y"], [set_to(the_word="b"), set_to()]) == ["xb", "ya"]
    assert colour.invoke(fields, "x", {"the_word": "c"}) == "xc"
    assert (
        colour.invoke(fields | RunnableLambda(lambda x: x + "!"), "x", set_to(the_word="b"))
        == "xb!"
    )


def test_a_config_bound_before_is_overridden_by_the_calls(colour: Any) -> None:
    bound = fields.with_config(configurable={"the_word": "b"})
    assert colour.invoke(bound, "x") == "xb"
    assert colour.invoke(bound, "x", set_to(the_word="c")) == "xc"
    assert colour.invoke(fields, "x") == "xa"


def test_a_changed_runnable_is_checked_like_a_new_one() -> None:
    made, _ = fields.prepare(set_to(the_word="b"))
    assert isinstance(made, Echo)
    assert made._checked
    with pytest.raises(ValueError, match="word"):
        fields.invoke("x", set_to(the_word=["no", "word"]))


def test_fields_with_another_name_outside_are_set_by_it(colour: Any) -> None:
    class Aliased(RunnableSerializable[str, str]):
        inner: str = Field(alias="outer")

        def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
            return input + self.inner

    chain = Aliased(outer="a").configurable_fields(inner=ConfigurableField(id="i"))
    assert colour.invoke(chain, "x", set_to(i="b")) == "xb"


def test_options_are_chosen_by_their_keys(colour: Any) -> None:
    one = Echo().configurable_fields(
        word=ConfigurableFieldSingleOption(id="w", options={"low": "l", "high": "h"}, default="low")
    )
    assert [colour.invoke(one, "x", config) for config in (None, set_to(w="high"))] == ["xl", "xh"]
    with pytest.raises(
        InvalidArgument, match=r"`hihg` is not an option of `w`\. Did you mean `high`"
    ):
        colour.invoke(one, "x", set_to(w="hihg"))

    class Many(RunnableSerializable[str, str]):
        words: list[str] = Field(default_factory=list)

        def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
            return " ".join([input, *self.words])

    many = Many().configurable_fields(
        words=ConfigurableFieldMultiOption(id="w", options={"a": "AA", "b": "BB"}, default=["a"])
    )
    assert [colour.invoke(many, "x", config) for config in (None, set_to(w=["b", "a"]))] == [
        "x AA",
        "x BB AA",
    ]
    with pytest.raises(InvalidType, match="a list of options"):
        colour.invoke(many, "x", set_to(w="ab"))


def test_a_prompt_with_another_template_has_its_variables(colour: Any) -> None:
    prompt = PromptTemplate.from_template("hi {a}").configurable_fields(
        template=ConfigurableField(id="t")
    )
    assert colour.invoke(prompt, {"b": 2}, set_to(t="yo {b}")).text == "yo 2"
    bound = prompt.with_config(configurable={"t": "yo {b}"})
    assert list(bound.get_input_jsonschema()["properties"]) == ["b"]


def test_fields_of_a_plain_runnable_can_be_set(colour: Any) -> None:
    chain = Echo().bind(end=".").configurable_fields(kwargs=ConfigurableField(id="k"))
    assert colour.invoke(chain, "x", set_to(k={"end": "!"})) == "xa!"
    assert colour.invoke(chain, "x") == "xa."


def test_more_fields_can_be_added(colour: Any) -> None:
    both = fields.configurable_fields(times=ConfigurableField(id="n"))
    assert colour.invoke(both, "x", set_to(the_word="b", n=2)) == "xbb"


def test_unknown_fields_and_other_marks_are_refused() -> None:
    with pytest.raises(
        InvalidArgument, match=r"`Echo` has no field `wrod` to configure\. Did you mean `word`"
    ):
        Echo().configurable_fields(wrod=word)
    with pytest.raises(InvalidType, match="`word` must be a `ConfigurableField`, not a `str`"):
        Echo().configurable_fields(word="word")  # type: ignore[arg-type]


# ---------------------------------------------------------------- attributes


def test_attributes_are_the_defaults_and_see_a_bound_config() -> None:
    assert (fields.word, fields.shout()) == ("a", "A")
    bound = fields.with_config(configurable={"the_word": "b"})
    assert (bound.word, bound.shout()) == ("b", "B")
    with pytest.raises(AttributeError, match="nothing"):
        _ = fields.nothing


def test_a_method_that_takes_a_config_is_called_on_what_it_chooses() -> None:
    assert fields.told() == "a None"
    assert fields.told({"configurable": {"the_word": "b"}, "tags": ["t"]}) == "b ['t']"
    assert fields.told(config={"configurable": {"the_word": "b"}}) == "b []"
    assert fields.with_config(configurable={"the_word": "b"}, tags=["t"]).told() == "b ['t']"
    assert (
        fields.with_config(configurable={"the_word": "b"}).with_types(input_type=str).told()
        == "b []"
    )


def test_a_method_that_returns_a_runnable_leaves_it_configurable(colour: Any) -> None:
    chain = Echo().configurable_alternatives(which, other=Other()).ending("!")
    assert isinstance(chain, RunnableDeclared)
    assert colour.invoke(chain, "x") == "xa!"
    assert colour.invoke(chain, "x", set_to(which="other")) == "ox!"
    assert colour.stream(chain.with_config(configurable={"which": "other"}), "x") == ["ox!"]
    assert [spec.id for spec in chain.config_specs] == ["which"]


# ---------------------------------------------------------------- alternatives


def test_another_runnable_takes_the_place_that_the_config_names(colour: Any) -> None:
    made: list[int] = []

    def make() -> Other:
        made.append(1)
        return Other(letter="m")

    chain = fields.configurable_alternatives(which, default_key="echo", other=Other(), lazy=make)
    assert made == []
    for choice, expected in (
        (None, "xa"),
        ("echo", "xa"),
        ("other", "ox"),
        ("lazy", "mx"),
        ("lazy", "mx"),
    ):
        config = None if choice is None else set_to(which=choice)
        assert colour.invoke(chain, "x", config) == expected
    assert made == [1]
    assert colour.invoke(chain, "x", set_to(the_word="b")) == "xb"


def test_an_unknown_alternative_offers_the_close_ones(colour: Any) -> None:
    chain = fields.configurable_alternatives(which, other=Other())
    with pytest.raises(
        InvalidArgument, match=r"`othr` is not an alternative for `which`\. Did you mean `other`"
    ):
        colour.invoke(chain, "x", set_to(which="othr"))


def test_prefixed_keys_reach_their_alternative_alone(colour: Any) -> None:
    other = Other().configurable_fields(letter=ConfigurableField(id="the_word"))
    chain = fields.configurable_alternatives(which, prefix_keys=True, other=other)
    given = {"which==default/the_word": "D", "which==other/the_word": "O"}
    assert colour.invoke(chain, "x", set_to(**given)) == "xD"
    assert colour.invoke(chain, "x", set_to(which="other", **given)) == "Ox"
    assert [spec.id for spec in chain.config_specs] == [
        "which",
        "which==default/the_word",
        "which==other/the_word",
    ]


def test_bad_alternatives_are_told_at_construction() -> None:
    with pytest.raises(InvalidArgument, match="`default` is the default's key"):
        Echo().configurable_alternatives(which, default=Other())
    with pytest.raises(InvalidType, match="The alternative `other` must be a runnable"):
        Echo().configurable_alternatives(which, other=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidType, match="`which` must be a `ConfigurableField`"):
        Echo().configurable_alternatives("which", other=Other())  # type: ignore[arg-type]


# ---------------------------------------------------------------- what can be configured


def test_specs_say_what_can_be_configured_in_a_whole_chain() -> None:
    chain = (
        fields
        | Other().configurable_fields(letter=ConfigurableField(id="l", annotation=str))
        | fields
    )
    assert chain.config_specs == [
        ConfigurableFieldSpec(id="l", annotation=str, default="o"),
        ConfigurableFieldSpec(
            id="the_word", annotation=str, name="Word", description="What is said", default="a"
        ),
    ]
    properties = chain.get_config_jsonschema()["$defs"]["Configurable"]["properties"]
    assert properties["the_word"] == {
        "default": "a",
        "description": "What is said",
        "title": "Word",
        "type": "string",
    }


def test_one_key_cannot_mean_two_things() -> None:
    spec = ConfigurableFieldSpec(id="a", annotation=int)
    assert get_unique_config_specs([spec, spec]) == [spec]
    with pytest.raises(InvalidArgument, match="`a` has two meanings"):
        get_unique_config_specs([spec, ConfigurableFieldSpec(id="a", annotation=str)])


def test_it_can_be_copied_pickled_and_compared() -> None:
    chain = fields.configurable_alternatives(which, other=Other())
    assert copy.deepcopy(chain) == pickle.loads(pickle.dumps(chain)) == chain
    assert chain != chain.with_config(configurable={"which": "other"})
    assert hash(RunnableLambda(len).configurable_alternatives(which, other=Other()))
    assert repr(fields).startswith("RunnableConfigurableFields(default=Echo(")


def test_a_factory_is_called_once_by_many_threads() -> None:
    made: list[int] = []

    def make() -> Any:
        time.sleep(0.02)
        made.append(1)
        return RunnableLambda(lambda x: x)

    chosen = RunnableLambda(lambda x: -x).configurable_alternatives(
        ConfigurableField(id="which"), other=make
    )
    config: Any = {"configurable": {"which": "other"}, "max_concurrency": 8}
    assert chosen.batch(list(range(8)), config) == list(range(8))
    assert made == [1]


class Asking(Runnable[Any, Any]):
    """Has a method that takes a config, as retrievers and vector stores of users have."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return input

    def ask(self, question: str, config: Any = None, *, loud: bool = False) -> Any:
        return question, (config or {}).get("tags"), loud


@pytest.mark.parametrize(
    ("runnable", "own"),
    [
        (Asking().with_config(tags=["bound"]), ["bound"]),
        (Asking().configurable_alternatives(ConfigurableField(id="which"), other=Asking()), []),
    ],
    ids=["binding", "alternatives"],
)
def test_a_method_takes_its_config_by_place_or_by_name(runnable: Any, own: list[str]) -> None:
    assert runnable.ask("why?", {"tags": ["mine"]}, loud=True) == (
        "why?",
        sorted(["mine", *own]),
        True,
    )
    assert runnable.ask("why?", config={"tags": ["mine"]}) == (
        "why?",
        sorted(["mine", *own]),
        False,
    )
    assert runnable.ask("why?", None)[1] in (own, None)


def test_a_key_that_is_nearly_one_of_ours_is_warned_of(colour: Any) -> None:
    with pytest.warns(UserWarning, match="`the_wrod` of `configurable`. Did you mean `the_word`"):
        assert colour.invoke(fields, "x", set_to(the_wrod="b")) == "xa"
    chosen = RunnableLambda(lambda x: x).configurable_alternatives(
        ConfigurableField("flavour"), other=fields
    )
    with pytest.warns(UserWarning, match="Did you mean `flavour`"):
        colour.invoke(chosen, "x", set_to(flavor="other"))


def test_keys_of_others_pass_without_a_word(colour: Any) -> None:
    """LangGraph puts its own there, and so do other steps of the chain; a warning is an error here."""
    other = Echo().configurable_fields(word=ConfigurableField("the_words"))
    config = set_to(the_words="b", thread_id="1", checkpoint_ns="")
    assert colour.invoke(fields | other, "x", config) == "xab"
