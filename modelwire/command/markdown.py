"""Colours Markdown while it streams. Every character of the text is printed, marks included.

No I/O here, and no cursor movement: nothing on the screen is drawn again.
"""

from __future__ import annotations

import re

# Parameters of the escape sequence "Select Graphic Rendition" (ECMA-48, section 8.3.117).
_PLAIN = ""
_BOLD = "1"
_CODE = "36"  # cyan

_FENCE = re.compile(
    r" {0,3}(`{3,}|~{3,})"
)  # https://spec.commonmark.org/0.31.2/#fenced-code-blocks
_HEADING = re.compile(r"#{1,6} ")
# The beginning of a line that may still become a fence or a heading.
_UNDECIDED = re.compile(r"(?: {0,3}(?:`{0,2}|~{0,2})|#{1,6})\Z")
_PIECE = re.compile(r"\n|`+|\*+|[^\n`*]+")


class MarkdownStyles:
    """Colours code and prints headings and `**strong**` words bold, with all their marks.

    Feed it the pieces of an answer as they come. It holds back at most the marks whose meaning the next character
    decides; `end` returns those.
    """

    def __init__(self) -> None:
        self._held = ""
        self._line = ""  # the current line as far as it has been returned
        self._fence = ""  # the marks that opened the code block, or an empty text outside of one
        self._opens_fence = False  # the current line is the one with those marks
        self._is_heading = False
        self._is_strong = False
        self._code_marks = ""  # the marks that opened the code within this line

    def feed(self, text: str) -> str:
        """Return the text with escape sequences around its styled parts."""
        self._held += text
        return self._styled(is_whole=False)

    def end(self) -> str:
        """Return the text that is still held back, and reset."""
        rest = self._styled(is_whole=True)
        self._end_line()
        self._fence = ""
        return rest

    def _styled(self, *, is_whole: bool) -> str:
        styled = []
        while self._held:
            if not self._line and not is_whole and _UNDECIDED.match(self._held):
                break
            if not self._line:
                self._begin_line()
            piece = _PIECE.match(self._held)
            assert piece is not None  # noqa: S101 - the alternatives cover every character
            text = piece[0]
            can_grow = text[0] in "`*" and piece.end() == len(self._held)
            if can_grow and not is_whole:
                break
            follows = self._held[piece.end() :][:1]
            self._held = self._held[piece.end() :]
            styled.append(_with_style(self._style_of(text, follows), text))
            self._line += text
            if text == "\n":
                self._end_line()
        return "".join(styled)

    def _begin_line(self) -> None:
        self._is_heading = not self._fence and _HEADING.match(self._held) is not None
        opening = None
        if not self._fence:
            opening = _FENCE.match(self._held)
        self._opens_fence = opening is not None
        if opening is not None:
            self._fence = opening[1]

    def _end_line(self) -> None:
        marks = self._line.strip()
        is_only_marks = set(marks) == set(self._fence[:1])
        if not self._opens_fence and is_only_marks and len(marks) >= len(self._fence):
            self._fence = ""
        self._line = ""
        self._code_marks = ""
        self._is_strong = False

    def _style_of(self, text: str, follows: str) -> str:
        if self._fence:
            return _CODE
        if self._is_heading:
            return _BOLD
        if text[0] == "`":
            return self._code_mark(text)
        if self._code_marks:
            return _CODE
        if text[0] == "*" and len(text) >= 2:
            return self._strong_mark(follows)
        return _BOLD if self._is_strong else _PLAIN

    def _code_mark(self, marks: str) -> str:
        if not self._code_marks:
            self._code_marks = marks
        elif self._code_marks == marks:
            self._code_marks = ""
        return _CODE

    def _strong_mark(self, follows: str) -> str:
        if self._is_strong:
            self._is_strong = False
            return _BOLD
        self._is_strong = bool(follows.strip())
        return _BOLD if self._is_strong else _PLAIN


def _with_style(style: str, text: str) -> str:
    if style and text != "\n":
        return f"\x1b[{style}m{text}\x1b[0m"
    return text
