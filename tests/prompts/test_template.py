from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType
from modelwire.prompts.template import BlockTemplate, compile_template, get_template_variables

names = st.from_regex(r"[a-z_][a-z0-9_-]{0,8}", fullmatch=True)
texts = st.text(alphabet=st.sampled_from("ab {}\n\"'\\é%"), max_size=20)


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("plain", {}, "plain"),
        ("", {}, ""),
        ("{a}", {"a": "x"}, "x"),
        ("{a}{a}-{b}", {"a": 1, "b": None}, "11-None"),
        ("{a:>5}|{b:.2f}", {"a": "x", "b": 1.239}, "    x|1.24"),
        ("{{a}} {{{a}}}", {"a": "x"}, "{a} {x}"),
        ("{user-name} {class} {self}", {"user-name": "u", "class": "c", "self": "s"}, "u c s"),
        ("100% {a}", {"a": "%s"}, "100% %s"),
    ],
)
def test_variables_are_filled_in(template: str, values: dict[str, Any], text: str) -> None:
    assert compile_template(template).render(values) == text


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{a.__class__}", "Invalid variable name 'a.__class__'.*attribute access"),
        ("{a.b.c}", "Invalid variable name"),
        ("{a[0]}", "Invalid variable name.*indexing"),
        ("{a[k]}", "Invalid variable name"),
        ("{0}", "Invalid variable name '0'.*positional"),
        ("{}", "Invalid variable name ''"),
        ("{12}", "Invalid variable name"),
        ("{a!x}", "conversion `!x`"),
        ("{a:{w}}", "Nested replacement"),
        ("{a:{w.__class__}}", "Nested replacement"),
        ("{a:}}", "cannot be read"),
        ("{a", "cannot be read"),
        ("a}", "cannot be read"),
        ("{", "cannot be read"),
        ("{{a}", "cannot be read"),
    ],
)
def test_a_template_that_asks_for_more_than_names_is_refused(template: str, why: str) -> None:
    with pytest.raises(InvalidTemplate, match=why) as caught:
        compile_template(template)
    assert isinstance(caught.value, ValueError)


def test_a_conversion_is_applied_before_the_format() -> None:
    assert (
        compile_template("{a!r} {b!s:>4} {c!a}").render({"a": "x", "b": 12, "c": "é"})
        == "'x'   12 '\\xe9'"
    )


@given(st.lists(st.tuples(texts, names), max_size=6), texts, st.dictionaries(names, texts))
def test_a_value_is_never_read_as_a_template(
    pieces: list[tuple[str, str]], tail: str, values: dict[str, str]
) -> None:
    def literal(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    template = "".join(f"{literal(text)}{{{name}}}" for text, name in pieces) + literal(tail)
    complete = {name: values.get(name, "{x}{{") for _, name in pieces}
    compiled = compile_template(template)
    assert (
        compiled.render(complete) == "".join(text + complete[name] for text, name in pieces) + tail
    )
    assert compiled.variables == tuple(dict.fromkeys(name for _, name in pieces))
    assert pickle.loads(pickle.dumps(compiled)).render(complete) == compiled.render(complete)


@given(st.text(alphabet=st.sampled_from("{}a.[]!:0 "), max_size=12))
def test_any_text_is_a_safe_template_or_an_invalid_one(text: str) -> None:
    try:
        template = compile_template(text)
    except InvalidTemplate:
        return
    assert not any(set(name) & set(".[]{}!:") or name.isdigit() for name in template.variables)


def test_an_unknown_format_offers_the_known_ones() -> None:
    with pytest.raises(
        InvalidArgument, match=r"Unsupported template format: f-strings\. Did you mean `f-string`"
    ):
        compile_template("x", "f-strings")


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["x"]])
def test_a_template_must_be_text(wrong: Any) -> None:
    with pytest.raises(InvalidType, match="must be a `str`"):
        compile_template(wrong)


def test_variables_are_listed_sorted_and_once() -> None:
    assert get_template_variables("{b}{a}{b}") == ["a", "b"]


def test_a_megabyte_of_fields_is_read_and_filled() -> None:
    template = compile_template("{ab} " * 200_000)
    assert template.variables == ("ab",)
    assert len(template.render({"ab": "x" * 4})) == 1_000_000


def test_blocks_are_filled_at_any_depth_and_keys_are_not() -> None:
    block = {"type": "x", "{k}": "{a}", "n": [{"m": "{b}{a}"}, 3, None, True], "plain": "{{z}}"}
    template = BlockTemplate(block)
    assert template.variables == ("a", "b")
    filled = template.fill({"a": "{b}", "b": 2})
    assert filled == {
        "type": "x",
        "{k}": "{b}",
        "n": [{"m": "2{b}"}, 3, None, True],
        "plain": "{z}",
    }
    assert template.fill({"a": 1, "b": 2})["n"] is not filled["n"]


def test_an_object_with_a_render_method_is_no_template() -> None:
    class Widget:
        def render(self, values: Any) -> str:
            raise AssertionError

    widget = Widget()
    assert BlockTemplate({"w": widget}).fill({})["w"] is widget


def test_a_block_nested_without_end_is_refused() -> None:
    block: Any = "x"
    for _ in range(5000):
        block = [block]
    with pytest.raises(InvalidTemplate, match="levels deep"):
        BlockTemplate(block)
