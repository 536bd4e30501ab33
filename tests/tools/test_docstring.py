"""What a Google style docstring says of a function and its arguments."""

from __future__ import annotations

import pytest

from modelwire.errors import InvalidArgument
from modelwire.tools.docstring import parse_google_docstring


def test_description_and_arguments_are_told_apart() -> None:
    text = "Find a thing.\nAnywhere.\n\nMore of it.\n\nArgs:\n    what (str): The thing.\n    *rest: Others.\n"
    assert parse_google_docstring(text) == (
        "Find a thing.\nAnywhere. More of it.",
        {"what": "The thing.", "rest": "Others."},
    )


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ("a: one\n        and: more\n    b: two", {"a": "one and: more", "b": "two"}),
        ("a: one\n        more", {"a": "one more"}),
        ("a:\n        on its own line", {"a": "on its own line"}),
        ("a: one\n\n    b: two", {"a": "one", "b": "two"}),
    ],
)
def test_deeper_lines_continue_the_argument_before(section: str, found: dict[str, str]) -> None:
    assert parse_google_docstring(f"Do.\n\nArgs:\n    {section}")[1] == found


def test_other_sections_are_neither_description_nor_arguments() -> None:
    text = "Do.\n\nArgs:\n    a: one\n\nReturns:\n    b: two\n\nRaises:\n    ValueError: three"
    assert parse_google_docstring(text) == ("Do.", {"a": "one"})
    assert parse_google_docstring("Do.\n\nReturns:\n    b: two") == ("Do.", {})


def test_no_docstring_says_nothing() -> None:
    assert parse_google_docstring(None) == ("", {})


def test_a_docstring_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="does not describe `a`, `b`"):
        parse_google_docstring("Do.", named=["a", "b"])
    with pytest.raises(InvalidArgument, match=r"Arg c in docstring not found .* takes `a`"):
        parse_google_docstring("Do.\n\nArgs:\n    c: one", named=["a"])
    assert parse_google_docstring("Do.", named=[]) == ("Do.", {})


@pytest.mark.parametrize(
    "section", ["Args:\n    a means one thing", "Args:\n", "Args:\nnothing is indented"]
)
def test_a_section_that_cannot_be_read_says_nothing_or_is_refused(section: str) -> None:
    assert parse_google_docstring(f"Do.\n\n{section}") == ("Do.", {})
    with pytest.raises(InvalidArgument, match="invalid Google-Style docstring in `there`"):
        parse_google_docstring(f"Do.\n\n{section}", named=["a"], where="there")
