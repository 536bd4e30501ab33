"""`modelwire ask`: one question, one answer."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from modelwire import _lazy
from modelwire.command import model_options, transcripts
from modelwire.command.model_options import warn
from modelwire.command.terminal import Screen, bill
from modelwire.errors import InvalidArgument
from modelwire.terminal_text import echo

if TYPE_CHECKING:
    from modelwire import messages
    from modelwire.messages import finish_reasons
    from modelwire.tools import loop
else:
    finish_reasons = _lazy.module("modelwire.messages.finish_reasons")
    messages, loop = _lazy.module("modelwire.messages"), _lazy.module("modelwire.tools.loop")

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the command."""
    ask = commands.add_parser(
        "ask",
        help='ask a model one thing; `modelwire "a question"` does the same',
        description="Ask a model one thing. What is piped in is put after the words. Without a model that is named or "
        "a key, a model on this machine answers. Exit code: 0 done, 1 the model refused or the call failed, "
        "2 wrong usage, 130 Ctrl-C.",
        epilog='example: modelwire ask "Which of these is urgent?" -m openai:gpt-4o-mini < mails.txt',
    )
    ask.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="the question (default: standard input)"
    )
    model_options.add_model_options(ask)
    add = ask.add_argument
    add(
        "-a",
        "--attach",
        metavar="FILE",
        action="append",
        default=[],
        help="a file or URL (an image, a PDF, a sound, a text) to ask about; may be given more than once",
    )
    add("--schema", metavar="FILE", help="a JSON schema: the answer is JSON of this form")
    add(
        "--json",
        action="store_true",
        help="print one JSON object: the answer, the model, why the answer ended, the tokens",
    )
    add("-n", "--no-stream", action="store_true", help="print the answer when it is whole")
    add("--cost", action="store_true", help="tell tokens and dollars at the end, on standard error")
    ask.set_defaults(run=_ask, usage_code=2)


def _ask(options: argparse.Namespace) -> None:
    text = model_options.question(options.prompt)
    if not text and not options.attach:
        raise InvalidArgument(
            'There is nothing to ask: write `modelwire ask "..."`, or pipe a text in.'
        )
    schema = None if options.schema is None else model_options.schema_of(options.schema)
    if schema is not None and options.tools:
        raise InvalidArgument(
            "`--schema` and `--tools` do not go together: the form of the answer is a tool itself."
        )
    tools = model_options.tools_of(options.tools)
    model = model_options.choose_model(options.model, options.param)
    blocks = [model_options.attachment(place, model) for place in options.attach]
    content: Any = (
        [*([{"type": "text", "text": text}] if text else []), *blocks] if blocks else text
    )
    history = [
        *([messages.SystemMessage(options.system)] if options.system else []),
        messages.HumanMessage(content),
    ]
    if schema is not None:
        new = _structured(model, history, schema, options)
    elif options.json or options.no_stream:
        new = loop.run_tools(model, history, tools)[len(history) :]
        echo(_as_json(model, new) if options.json else new[-1].text)
    else:
        new = Screen(is_plain=options.plain).show(loop.stream_tools(model, history, tools))
    model_options.warn_of_cut(new)
    if options.cost:
        warn(bill(new))
    transcripts.keep(None, model_options.model_of(model), [*history, *new], off=options.no_log)


def _structured(
    model: Any, history: list[Any], schema: dict[str, Any], options: argparse.Namespace
) -> list[Any]:
    """Print the answer as JSON of the form."""
    found = model.with_structured_output(schema, include_raw=True).invoke(history)
    if found["parsing_error"] is not None:
        raise found["parsing_error"]
    answer = found["parsed"]
    echo(
        _as_json(model, [found["raw"]], answer)
        if options.json
        else json.dumps(answer, ensure_ascii=False, indent=2)
    )
    return [found["raw"]]


def _as_json(model: Any, new: list[Any], answer: Any = None) -> str:
    answers = [message for message in new if isinstance(message, messages.AIMessage)]
    used = [one.usage_metadata for one in answers if one.usage_metadata]
    whole = {
        "model": model_options.model_of(model),
        "answer": new[-1].text if answer is None else answer,
        "finish_reason": finish_reasons.finish_reason_of(answers[-1]) if answers else None,
        "tool_calls": [call for one in answers for call in one.tool_calls],
        "input_tokens": sum(one["input_tokens"] for one in used),
        "output_tokens": sum(one["output_tokens"] for one in used),
    }
    return json.dumps(whole, ensure_ascii=False, default=str)
