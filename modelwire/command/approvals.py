"""`--tools`: asks the user about each call of a tool before it runs. Where there is no terminal, calls are declined."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from modelwire import tools
from modelwire.command.keyboard import with_echo
from modelwire.command.standard_streams import has_terminal, warn
from modelwire.terminal_text import printable

_QUESTION = "Run it? y, n, a (always run {name} in this conversation), or the reason why not: "
_NO_TERMINAL = "There is no terminal at which the user could approve it."


class Approver:
    """Asks the user whether a tool may be called. It remembers the tools that the user always allows."""

    def __init__(self, *, approves_all: bool) -> None:
        self.approves_all = approves_all
        self._always: set[str] = set()
        # The caller may set a function that is called before a question, to end the line of an answer.
        self.end_line: Callable[[], None] = lambda: None

    def __call__(self, request: tools.ToolRequest) -> Any:
        """Return True, False or the user's reason to decline."""
        if self.approves_all or request.name in self._always:
            return True
        if not has_terminal():
            warn(
                f"{_shown(request)} was declined: {_NO_TERMINAL} `--yes` runs tools without a question."
            )
            return _NO_TERMINAL
        self.end_line()
        warn(_shown(request))
        answer = _typed(_QUESTION.format(name=printable(request.name)))
        match answer.lower():
            case "y" | "yes":
                return True
            case "a" | "always":
                self._always.add(request.name)
                return True
            case "" | "n" | "no":
                return False
        return answer


def _shown(request: tools.ToolRequest) -> str:
    arguments = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in request.args.items()
    )
    return f"{request.name}({arguments})"


def _typed(question: str) -> str:
    """Write a question to standard error, and return the line that the user types; empty at the end of the input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    with with_echo():
        return sys.stdin.readline().strip()
