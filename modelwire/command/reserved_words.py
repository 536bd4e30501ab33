"""Words that other command-line tools have as commands, and where the same thing is here.

They are never sent to a model as a question: `modelwire keys set openai sk-...` would send and store a key.
"""

from __future__ import annotations

__all__ = ["RESERVED_WORDS"]

_IN_THE_ENVIRONMENT = (
    "Keys are read from the environment, such as `export OPENAI_API_KEY=...`. "
    "`modelwire doctor` shows which are set."
)
_ROW = "Write a row `[models.NAME]` into `modelwire.toml`, with `model` and its parameters, and name it with `-m NAME`."

# Each word, and the sentences that `modelwire WORD` prints.
RESERVED_WORDS = {
    "keys": _IN_THE_ENVIRONMENT,
    "templates": f"A prompt has no template here, a model has. {_ROW}",
    "fragments": "Attach a file or URL with `modelwire ask -a FILE`, or pipe a text in.",
    "plugins": "A provider's plugin is a package: install it with pip. `modelwire doctor` lists those it finds.",
    "aliases": _ROW,
    "embed": "`modelwire` makes no embeddings.",
    "tools": "Let a model call the functions of a Python file with `modelwire ask --tools FILE`.",
    "schemas": "Ask for JSON of a form with `modelwire ask --schema FILE`.",
    "install": "Install packages with pip, and a local model's weights with `modelwire local pull`.",
    "list": "`modelwire models` lists models, `modelwire jobs list` jobs and `modelwire log` conversations.",
    "plan": "`modelwire batch --finish-by TIME --plan` shows what a batch job would cost and when it would end.",
}
