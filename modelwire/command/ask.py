"""`modelwire ask`: one question, one answer."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from modelwire import ext, messages
from modelwire import tools as loop
from modelwire.aliases import JSON
from modelwire.command import model_options, templates, transcripts, waiting
from modelwire.command.approvals import Approver
from modelwire.command.standard_streams import warn
from modelwire.command.terminal import Screen, bill
from modelwire.errors import InvalidArgument, StepLimitReached
from modelwire.terminal_text import echo

# A fenced block of code in an answer. The last block may end with the answer instead of a fence.
_CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^ {0,3}(?P=fence)|\Z)",
    re.MULTILINE | re.DOTALL,
)


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    ask = commands.add_parser(
        "ask",
        help='ask a model one thing; `modelwire "a question"` does the same',
        description="Ask a model one thing. Piped text is appended to the question. If no model is named and no key "
        "is set, a model on this machine answers. Exit code: 0 done, 1 the model refused or the call failed, "
        "2 wrong usage, 130 Ctrl-C.",
        epilog='example: modelwire ask "Which of these is urgent?" -m openai:gpt-4o-mini < mails.txt',
    )
    ask.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="the question (default: standard input)"
    )
    model_options.add_conversation_options(ask)
    add = ask.add_argument
    add(
        "-f",
        "--fragment",
        metavar="FILE",
        action="append",
        default=[],
        help="a text to put before the question: a file, a URL, or - for standard input; may be given more than once",
    )
    add(
        "--schema",
        metavar="SCHEMA",
        help="the answer is JSON of this form: a file with a JSON schema, the schema itself, or such as "
        "'name, age int' (default: any text)",
    )
    add(
        "--json",
        action="store_true",
        help="print one JSON object: the answer, the model, why the answer ended, the tokens",
    )
    add(
        "-x",
        "--extract",
        action="store_true",
        help="print only the last block of code of the answer",
    )
    add("-n", "--no-stream", action="store_true", help="print the answer only when it is complete")
    add(
        "-u",
        "--usage",
        "--cost",
        dest="cost",
        action="store_true",
        help="write tokens and dollars at the end, on standard error",
    )
    add(
        "--save",
        metavar="NAME",
        help="save these options as a template instead of asking (default: ask)",
    )
    ask.set_defaults(run=_ask)


def _ask(options: argparse.Namespace) -> None:
    templates.apply_template(options)
    if options.save:
        _save(options)
        return
    text = _text(options)
    if not text and not options.attach:
        raise InvalidArgument(
            'There is nothing to ask: write `modelwire ask "..."`, or pipe a text in.'
        )
    schema = None
    if options.schema is not None:
        schema = model_options.schema_of(options.schema)
    if schema is not None and options.tools:
        raise InvalidArgument(
            "`--schema` and `--tools` cannot be combined: the form of the answer is sent as a tool."
        )
    if options.extract and (options.json or schema is not None):
        raise InvalidArgument("`-x` is for answers in text: leave out `--json` and `--schema`.")
    tools = model_options.tools_of(options.tools)
    talk, history = transcripts.earlier(options)
    model = model_options.choose_model(options.model, options.param)
    blocks = [model_options.attachment(place, model) for place in options.attach]
    history.append(messages.HumanMessage(model_options.content_of(text, blocks)))

    def keep(whole: list[Any]) -> None:
        transcripts.keep(talk, model_options.model_of(model), whole, off=options.no_log)

    with ext.observing(waiting.WaitingNote()):
        try:
            new = _answer(model, history, tools, schema, options)
        except StepLimitReached as exc:
            keep(list(exc.messages))
            raise
    model_options.warn_of_cut(new)
    if options.cost:
        warn(bill(new))
    keep([*history, *new])


def _text(options: argparse.Namespace) -> str:
    """Return the fragments and the question. Raises `InvalidArgument` if two options read standard input."""
    readers = [*options.attach, *options.fragment].count("-")
    if readers > 1:
        raise InvalidArgument("Standard input can be read once: write `-` for one option only.")
    fragments = [model_options.fragment(place) for place in options.fragment]
    typed = model_options.question(options.prompt, is_piped=not readers)
    return model_options.joined((*fragments, typed))


def _save(options: argparse.Namespace) -> None:
    params = model_options.parameters_of(options.param)
    if options.schema is not None:
        model_options.schema_of(options.schema)
    place = templates.save_template(options.save, options, params)
    warn(f"The template `{options.save}` is in {place}. Use it with `-t {options.save}`.")


def _answer(
    model: Any,
    history: list[Any],
    tools: list[Any],
    schema: JSON | None,
    options: argparse.Namespace,
) -> list[Any]:
    """Print the answer in the form that the options choose; return the new messages."""
    if schema is not None:
        return _structured(model, history, schema, options)
    approver = Approver(approves_all=options.yes)
    if options.json or options.no_stream or options.extract:
        new = loop.run_tools(model, history, tools, approve=approver)[len(history) :]
        text = str(new[-1].text)
        if options.json:
            text = _as_json(model, new)
        elif options.extract:
            text = _last_code(text)
        echo(text)
        return new
    screen = Screen(is_plain=options.plain, hides_reasoning=options.hide_reasoning)
    approver.end_line = screen.end_line
    return screen.show(loop.stream_tools(model, history, tools, approve=approver))


def _last_code(text: str) -> str:
    """Return the last block of code in a text, or the text if it has none."""
    blocks = [found["code"] for found in _CODE.finditer(text)]
    if blocks:
        return blocks[-1].removesuffix("\n")
    return text


def _structured(
    model: Any, history: list[Any], schema: JSON, options: argparse.Namespace
) -> list[Any]:
    """Print the answer as JSON that matches the schema; return the new message in a list."""
    found = model.with_structured_output(schema, include_raw=True).invoke(history)
    if found["parsing_error"] is not None:
        raise found["parsing_error"]
    answer = found["parsed"]
    new = [found["raw"]]
    if options.json:
        echo(_as_json(model, new, answer))
    else:
        echo(json.dumps(answer, ensure_ascii=False, indent=2))
    return new


def _as_json(model: Any, new: list[Any], answer: Any = None) -> str:
    answers = [message for message in new if isinstance(message, messages.AIMessage)]
    used = [one.usage_metadata for one in answers if one.usage_metadata]
    whole = {
        "model": model_options.model_of(model),
        "answer": new[-1].text if answer is None else answer,
        "finish_reason": ext.finish_reason_of(answers[-1]) if answers else None,
        "tool_calls": [call for one in answers for call in one.tool_calls],
        "input_tokens": sum(one["input_tokens"] for one in used),
        "output_tokens": sum(one["output_tokens"] for one in used),
    }
    return json.dumps(whole, ensure_ascii=False, default=str)
