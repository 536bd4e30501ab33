"""Chat templates for known models whose own templates cannot express everything that a chat may contain."""

from __future__ import annotations

# This is ChatML exactly as in the model's own template, extended by tools, which that template
# lacks. Calls are written as `<tool_call>` JSON, a form that llama.cpp detects in a template and
# then enforces on the model's output. Results of tools have a role of their own: with a tag that
# begins like `<tool_call>`, so small a model repeats that tag instead of calling (tried 2026-11).
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
