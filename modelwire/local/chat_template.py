"""The chat templates of the models we know, where those inside their weights do not say all that a chat may hold."""

from __future__ import annotations

__all__ = ["SMOLLM2_WITH_TOOLS"]

# ChatML word for word as the model's own template has it, and tools besides, which that leaves out. Calls are written
# as in `<tool_call>` JSON, the form llama.cpp finds in a template by itself, and then holds the model to. Answers of
# tools have a role of their own: a tag that begins like `<tool_call>` leads so small a model to write that instead
# (tried 2026-11).
SMOLLM2_WITH_TOOLS = """\
{%- set first = messages[0] -%}
{{- '<|im_start|>system\\n' }}
{{- first.content if first.role == 'system' else
    'You are a helpful AI assistant named SmolLM, trained by Hugging Face' }}
{%- if tools %}
    {{- '\\n\\nFunctions you can call:\\n<tools>\\n' }}
    {%- for tool in tools %}{{ tool | tojson + '\\n' }}{% endfor %}
    {{- '</tools>\\n\\nA call:\\n<tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
    {%- if message.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content or not message.tool_calls %}{{ '\\n' + (message.content or '') }}{% endif %}
        {%- for call in message.tool_calls or [] %}
            {%- set call = call.function or call %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments | tojson + '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
