from __future__ import annotations

import pickle
import sys
import warnings
from typing import Any

import jinja2
import pytest

from modelwire.errors import InvalidTemplate, MissingDependency
from modelwire.prompts import (
    ChatPromptTemplate,
    PromptTemplate,
    get_template_variables,
    jinja2_formatter,
)
from modelwire.prompts.jinja import Jinja2Template


def test_a_jinja2_template_is_filled_in(colour: Any) -> None:
    template = "{% for name in names %}{{ loop.index }}. {{ name|upper }} {# no #}{% endfor %}"
    prompt = PromptTemplate.from_template(template, template_format="jinja2")
    assert prompt.input_variables == ["names"]
    assert colour.invoke(prompt, {"names": ["ada", "{{ x }}"]}).to_string() == "1. ADA 2. {{ X }} "
    assert jinja2_formatter("{{ a.b }}{{ a['b'] }}<{{ absent }}>", a={"b": "<"}) == "<<<>"
    assert pickle.loads(pickle.dumps(prompt)) == prompt


def test_messages_take_jinja2() -> None:
    prompt = ChatPromptTemplate(
        [("system", "You are {{ who }}."), ("human", "{{ q }}")], template_format="jinja2"
    )
    assert (
        prompt.invoke({"who": "Ada", "q": "{{ who }}"}).to_string()
        == "System: You are Ada.\nHuman: {{ who }}"
    )


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__bases__[0] }}",
        "{{ x.append(1) }}",
        "{{ x.__init__.__globals__ }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ none_such.name }}",
    ],
)
def test_a_template_stays_in_its_sandbox(template: str) -> None:
    values = [1]
    with pytest.raises(InvalidTemplate, match="cannot be filled in"):
        jinja2_formatter(template, x=values)
    assert values == [1]


def test_scripts_that_catch_jinja2s_own_errors_still_do() -> None:
    with pytest.raises(jinja2.exceptions.SecurityError):
        jinja2_formatter("{{ ''.__class__.__bases__ }}")
    with pytest.raises(jinja2.exceptions.UndefinedError):
        jinja2_formatter("{{ a.b }}")


@pytest.mark.parametrize(
    "template",
    ["{{ x", "{% for %}", "{% include 'a' %}", "{% extends x %}", "{% import 'a' as b %}"],
)
def test_a_template_that_cannot_be_read_is_refused_when_it_is_made(template: str) -> None:
    with pytest.raises(InvalidTemplate):
        PromptTemplate.from_template(template, template_format="jinja2")


def test_validation_warns_of_variables_that_differ() -> None:
    with pytest.warns(UserWarning, match="Missing variables: {'foo'} Extra variables: {'bar'}"):
        PromptTemplate(
            "{{ foo }}", template_format="jinja2", input_variables=["bar"], validate_template=True
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PromptTemplate(
            "{{ foo }}", template_format="jinja2", input_variables=["foo"], validate_template=True
        )
    assert get_template_variables("{{ b }}{% set c = a %}{{ c }}", "jinja2") == ["a", "b"]


def test_without_jinja2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    monkeypatch.delitem(sys.modules, "modelwire.prompts.jinja_sandbox", raising=False)
    with pytest.raises(MissingDependency, match="pip install"):
        PromptTemplate.from_template("{{ x }}", template_format="jinja2")


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'.zfill(width=10**9) }}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * [1] }}",
        "{{ 10 ** (10**8) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ 'a'|center(10**9) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ 'a\n'|indent(10**9) }}",
    ],
)
def test_a_number_does_not_make_a_gigabyte(text: str) -> None:
    with pytest.raises(InvalidTemplate, match=r"more than 1,000,000"):
        Jinja2Template(text).render({})


def test_an_endless_answer_of_a_template_is_given_up() -> None:
    with pytest.raises(InvalidTemplate, match="67,108,864 characters"):
        Jinja2Template("{% for a in range(9999) %}{{ x }}{% endfor %}").render({"x": "x" * 100_000})


def test_usual_widths_and_products_stay() -> None:
    text = (
        "{{ 'a'.ljust(3) }}|{{ 'ab' * 2 }}|{{ 2 ** 10 }}|{{ '%5.1f%%' % 1.25 }}|{{ 'a'|center(3) }}"
    )
    assert Jinja2Template(text).render({}) == "a  |abab|1024|  1.2%| a "
    assert (
        Jinja2Template("{{ '{:>4} * 12345678'.format(1) }}|{{ 3 * 4 }}").render({})
        == "   1 * 12345678|12"
    )
    assert Jinja2Template("{{ '**%s** of 12345678' % 'a' }}").render({}) == "**a** of 12345678"
