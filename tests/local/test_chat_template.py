"""What the local model reads: ChatML as its own template has it, and tools, which that leaves out."""

from __future__ import annotations

import json
from typing import Any

import jinja2

from modelwire.local.chat_template import SMOLLM2_WITH_TOOLS

HIM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
WRITER = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
WRITER.filters["tojson"] = json.dumps  # jinja2's own is for HTML
TEMPLATE = WRITER.from_string(SMOLLM2_WITH_TOOLS)


def rendered(*turns: tuple[str, str], **more: Any) -> str:
    messages = [{"role": role, "content": content} for role, content in turns]
    return TEMPLATE.render(messages=messages, add_generation_prompt=True, **more)


def test_a_chat_without_tools_is_plain_chatml() -> None:
    assert rendered(("user", "hi"), ("assistant", "yes"), ("system", "now"), ("user", "so?")) == (
        f"<|im_start|>system\n{HIM}<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
        "<|im_start|>system\nnow<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered(("system", "be"), ("user", "hi")) == (
        "<|im_start|>system\nbe<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tools_calls_and_their_answers_are_said() -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
    ]
    text = TEMPLATE.render(
        messages=[*messages, {"role": "tool", "content": "sunny"}], tools=[{"name": "weather"}]
    )
    said = '\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    assert text.endswith(
        f"<|im_start|>assistant{said * 2}<|im_end|>\n<|im_start|>tool\nsunny<|im_end|>\n"
    )
    assert '<tools>\n{"name": "weather"}\n</tools>' in text
