"""An agent that cannot spend more than it may: the tool loop under a budget.

python examples/budgeted_agent.py [openai:gpt-4o-mini | anthropic:claude-haiku-4-5 | ...]
"""

from __future__ import annotations

import sys

from stand_in import chosen_model

from modelwire import AIMessage, budget, run_tools
from modelwire.errors import BudgetExceeded


def look_further(clue: str) -> str:
    """Look where a clue leads."""
    return f"{clue} leads to another clue"


# A model that never has enough; with one of your own this list is not needed.
WRITTEN = [
    AIMessage(
        "", tool_calls=[{"name": "look_further", "args": {"clue": f"clue {n}"}, "id": str(n)}]
    )
    for n in range(99)
]

model = chosen_model(sys.argv[1:], WRITTEN)
with budget(calls=5, tokens=20_000, seconds=120) as spending:
    try:
        messages = run_tools(model, "Where is the treasure?", [look_further], max_steps=50)
        print(messages[-1].text)
    except BudgetExceeded as stop:
        print(f"stopped: {stop}")
print(spending)
