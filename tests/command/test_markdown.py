"""Colours for Markdown change nothing of an answer but its colour."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelwire.command.markdown import MarkdownStyles

ANSWER = (
    "Put a <div> inside <body>, List<String>, a*b*c, __init__, [docs](https://x.test), 2 ** 3\n"
)
HAIKU = "old pond\na frog jumps in\nthe sound of water\n"


def styled(*pieces: str) -> str:
    styles = MarkdownStyles()
    return "".join([*map(styles.feed, pieces), styles.end()])


def without_styles(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


@pytest.mark.parametrize("answer", [ANSWER, HAIKU, "- a\n- b", "| a | b |\n|---|---|\n", "a&amp;b"])
def test_what_has_no_style_is_printed_as_it_is(answer: str) -> None:
    assert styled(answer) == answer


def characters_with_styles(text: str) -> list[tuple[str, str]]:
    """Return each character with the style in which a terminal shows it."""
    found, style = [], ""
    for part in re.findall("\x1b\\[[0-9;]*m|[^\x1b]", text):
        if part.startswith("\x1b"):
            style = part.strip("\x1b[m").replace("0", "")
        else:
            found.append((part, style))
    return found


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("a **b** c", "a <B>**b**</> c"),
        ("call `f(*a)` now", "call <C>`f(*a)`</> now"),
        ("## Title\ntext", "<B>## Title</>\ntext"),
        ("```py\nx = '**'\n```\ny", "<C>```py</>\n<C>x = '**'</>\n<C>```</>\ny"),
        ("~~~\n```\n~~~\ny", "<C>~~~</>\n<C>```</>\n<C>~~~</>\ny"),
        ("````\n```\n````\ny", "<C>````</>\n<C>```</>\n<C>````</>\ny"),
        ("open ** and **bold\nnext", "open ** and <B>**bold</>\nnext"),
        ("a `open\nnext `b`", "a <C>`open</>\nnext <C>`b`</>"),
    ],
)
def test_code_and_strong_words_have_a_style_and_keep_their_marks(answer: str, shown: str) -> None:
    codes = {"<B>": "\x1b[1m", "<C>": "\x1b[36m", "</>": "\x1b[0m"}
    expected = re.sub("<B>|<C>|</>", lambda mark: codes[mark[0]], shown)
    assert characters_with_styles(styled(answer)) == characters_with_styles(expected)


@given(st.lists(st.text(alphabet="`*~# \na<", max_size=6), max_size=20))
@example(["```", "\n", "``", "`"])
def test_nothing_is_lost_however_the_answer_is_cut(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert without_styles(styled(*pieces)) == whole
    assert characters_with_styles(styled(*pieces)) == characters_with_styles(styled(whole))


def test_text_is_shown_as_soon_as_it_comes() -> None:
    styles = MarkdownStyles()
    assert [styles.feed(piece) for piece in ("The", " answ", "er *", "is")] == [
        "The",
        " answ",
        "er ",
        "*is",
    ]
