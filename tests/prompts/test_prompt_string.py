from __future__ import annotations

import pytest

from modelwire.errors import InvalidArgument, InvalidTemplate
from modelwire.prompts import PromptTemplate
from modelwire.prompts.string import (
    check_valid_template,
    mustache_template_vars,
    validate_f_string_template,
)


def test_a_template_is_checked_against_the_names_said() -> None:
    check_valid_template("{a} {b}", "f-string", ["b", "a"])
    with pytest.raises(
        InvalidTemplate, match=r"mismatched or missing input parameters from \['b'\]: .*\['a'\]"
    ):
        check_valid_template("{a}", "f-string", ["b"])
    with pytest.raises(InvalidTemplate, match=r"parameters from \[''\].*Invalid variable name"):
        PromptTemplate("{}", input_variables=[""], validate_template=True)
    with pytest.raises(InvalidTemplate, match="Nested replacement fields are not allowed"):
        check_valid_template("{a:{b}}", "f-string", ["a"])
    with pytest.raises(InvalidArgument, match="Invalid template format 'mustache'"):
        check_valid_template("{{a}}", "mustache", ["a"])


def test_variables_are_listed() -> None:
    assert validate_f_string_template("{b} {a} {b}") == ["a", "b"]
    assert mustache_template_vars("{{b.c}} {{a}}") == {"a", "b"}
