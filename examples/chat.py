"""Chat: each answer is printed as it comes, and the conversation is kept.

python examples/chat.py                          a stand-in answers; type, and end with Ctrl-D
python examples/chat.py openai:gpt-4o-mini       a provider, its key in the environment
echo "What is a violin?" | python examples/chat.py local:smollm2
"""

from __future__ import annotations

import sys

from stand_in import chosen_model

from modelwire import AIMessageChunk, HumanMessage, SystemMessage
from modelwire.messages import BaseMessage

model = chosen_model(
    sys.argv[1:], lambda text: f"You said: {text} Tell me more.", pause_s=0.02, max_tokens=100
)
history: list[BaseMessage] = [SystemMessage("You answer in one short sentence.")]

print("you> ", end="", flush=True)
for line in sys.stdin:
    if not sys.stdin.isatty():
        print(line.strip())
    if line.strip():
        history.append(HumanMessage(line.strip()))
        print("     ", end="", flush=True)
        answer: AIMessageChunk | None = None
        for chunk in model.stream(history):
            print(chunk.text, end="", flush=True)
            answer = chunk if answer is None else answer + chunk
        if answer is not None:
            history.append(answer)  # the sum of the chunks is the message
    print("\nyou> ", end="", flush=True)
print(f"\n{len(history)} messages in all")
