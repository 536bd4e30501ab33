"""An agent that pays bills, and asks you before it pays.

Stop it at any moment and start it again: it pays nothing twice.

python examples/approval.py [openai:gpt-4o-mini | anthropic:claude-haiku-4-5 | ...] [--journal FILE]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from modelwire import AIMessage, init_chat_model, run_tools
from modelwire.errors import ToolsPaused
from modelwire.language_models import BaseChatModel
from modelwire.outputs import ChatGeneration, ChatResult
from modelwire.tools import Later, RunAgain, ToolRequest, tool

BILLS = {"water": 48, "power": 112}


class Agent(BaseChatModel):
    """A stand-in for a model: it lists the bills, pays them, and says so."""

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        pays = [{"name": "pay", "args": {"bill": bill}, "id": bill} for bill in BILLS]
        answers = (
            AIMessage("", tool_calls=[{"name": "list_bills", "args": {}, "id": "list"}]),
            AIMessage("", tool_calls=pays),
            AIMessage("I have done what you allowed."),
        )
        given = sum(isinstance(message, AIMessage) for message in messages)
        return ChatResult(generations=[ChatGeneration(message=answers[given])])


@tool(approve=False)
def list_bills() -> dict[str, int]:
    """Return the open bills, in euros."""
    return BILLS


@tool(approve=True)
def pay(bill: str) -> str:
    """Pay a bill."""
    print(f"*** {BILLS[bill]} euros are paid for {bill} ***")
    return "paid"


def approve(call: ToolRequest) -> object:
    """Ask the person at the terminal."""
    if not sys.stdin.isatty():
        return "Nobody is here to approve it."
    answer = input(f"{call.name}({call.args})? yes, later, or why not: ").strip()
    if answer == "later":
        return Later
    return answer == "yes" or answer


def interrupted(paused: ToolsPaused) -> dict[str, object]:
    """Ask the person what became of the calls that are open. A call without a result stays open."""
    results: dict[str, object] = {}
    for call in paused.calls if sys.stdin.isatty() else ():
        answer = input(
            f"{call['name']}({call['args']}) is open: again, paid, or leave it? "
        ).strip()
        if answer == "again":
            results[call["id"]] = RunAgain
        elif answer == "paid":
            results[call["id"]] = "paid"
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="without one, a stand-in answers")
    parser.add_argument("--journal", default="bills.journal", help="the file to continue from")
    options = parser.parse_args()
    model = init_chat_model(options.model) if options.model else Agent()
    results: dict[str, object] = {}
    while True:
        try:
            messages = run_tools(
                model,
                "Pay my bills.",
                [list_bills, pay],
                approve=approve,
                results=results,
                journal=options.journal,
            )
        except ToolsPaused as paused:
            print(paused)
            results = interrupted(paused)
            if not results:
                print(
                    f"Start the program again to go on; the conversation is in {options.journal}."
                )
                return
        else:
            print(messages[-1].text)
            return


if __name__ == "__main__":
    main()
