"""Rewrites error texts for the command line: the argument of a function becomes the option that sets it."""

from __future__ import annotations

import argparse
import re

# Parts of error texts that only help in Python, and their replacements, which are made in this order.
_REPLACED = (
    (r" The part is in `\.partial`\.", ""),
    (
        r" \(`max_steps`\)\. The conversation so far is in `\.messages`.*",
        '. `modelwire ask -c "Go on."` continues the conversation of `ask`.',
    ),
    (r", or name it in the config of the call: `config=[^`]*`", ""),
    (r'`init_chat_model\(["\']([^"\']+)["\']\)`', r"`-m \1`"),
    (r"or pass `(?:api_key|credentials)=`", "or store it with `modelwire keys set PROVIDER`"),
)
_ARGUMENT = re.compile(r"`(\w+)=([^`\n]*)`")
_QUOTES = "'\""
_JSON_WORDS = {"True": "true", "False": "false", "None": "null", "": "..."}


def shell_text(error: Exception, options: argparse.Namespace) -> str:
    """Return the text of an error, in which options of the command replace the arguments of Python functions."""
    text = str(error)
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    if not hasattr(options, "param"):
        return text

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name in vars(options):
            dashed = f"--{name.replace('_', '-')}"
            if isinstance(getattr(options, name), bool):
                return f"`{dashed}`"
            return f"`{dashed} {value.strip(_QUOTES)}`"
        value = _JSON_WORDS.get(value, value.replace("'", '"'))
        needs_quotes = not re.fullmatch(r"[\w.]+", value)
        if needs_quotes:
            return f"`-p '{name}={value}'`"
        return f"`-p {name}={value}`"

    # An error that names the argument and its option names the option once.
    return re.sub(r"(`[^`]+`) \(\1\)", r"\1", _ARGUMENT.sub(option, text))
