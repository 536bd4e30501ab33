"""Words that are commands of other command-line tools, with the way to do the same here.

They are never sent to a model as a question, because the words after them may hold an API key.
"""

from __future__ import annotations

_ROW = "Write a row `[models.NAME]` into `modelwire.toml`, with `model` and its parameters, and name it with `-m NAME`."

# Each word, and the sentences that `modelwire WORD` prints.
RESERVED_WORDS = {
    "templates": "A template is a row [templates.NAME] of your modelwire.toml: `modelwire ask -s TEXT --save NAME` "
    "writes one, `-t NAME` uses it, `modelwire config show` lists them.",
    "fragments": "Put a file or URL before the question with `modelwire ask -f FILE`.",
    "plugins": "A provider's plugin is a package: install it with pip. `modelwire doctor` lists those it finds.",
    "aliases": _ROW,
    "tools": "Let a model call the functions of a Python file with `modelwire ask --tools FILE`.",
    "schemas": "Ask for JSON of a form with `modelwire ask --schema 'name, age int'`.",
    "install": "Install packages with pip, and a local model's weights with `modelwire local pull`.",
    "list": "`modelwire models` lists models, `modelwire jobs list` jobs and `modelwire log` conversations.",
    "plan": "`modelwire batch --finish-by TIME --plan` shows what a batch job would cost and when it would end.",
}
