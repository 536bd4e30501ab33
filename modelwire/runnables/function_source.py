"""Reads the source of the user's functions. Only `repr`, schemas and graphs use it, as reading source is slow."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from threading import Lock
from typing import Any

from modelwire.aliases import Args

_one_at_a_time = Lock()
_visited: ContextVar[frozenset[int]] = ContextVar("visited", default=frozenset())


@contextmanager
def visiting(thing: object) -> Iterator[bool]:
    """Yield True if no enclosing `visiting` block visits `thing`: functions may refer to each other
    in circles.
    """
    visited = _visited.get()
    token = _visited.set(visited | {id(thing)})
    try:
        yield id(thing) not in visited
    finally:
        _visited.reset(token)


def format_function(func: Any) -> str:
    """Return a function as text: a lambda by its source, any other by its name."""
    name = getattr(func, "__name__", None)
    if name == "<lambda>":
        return _lambda_source(func) or "lambda"
    return str(name) if name is not None else repr(func)


def _lambda_source(func: Any) -> str | None:
    """Return the source of a lambda; None if it is unavailable.

    If its lines have several lambdas, that with the same bytecode is returned, or else the first.
    """
    lambdas = [node for node in _nodes(func) if isinstance(node, ast.Lambda)]
    if not lambdas:
        return None
    shown = lambdas[0]
    if len(lambdas) > 1:
        wanted = func.__code__.co_code, func.__code__.co_consts
        fitting = (node for node in lambdas if _compiled(node) == wanted)
        shown = next(fitting, shown)
    return ast.unparse(shown)


def _nodes(func: Any) -> list[ast.AST]:
    """Return the syntax nodes of the lines that define a function; [] if the lines are unavailable."""
    try:
        lines, _ = inspect.getsourcelines(func)
        text = textwrap.dedent("".join(lines))
        return [*ast.walk(_parsed(text))]
    except (OSError, TypeError, SyntaxError):
        return []


def _parsed(text: str) -> ast.AST:
    """Parse lines that may begin or end in the middle of a statement, such as those of a chain in parentheses."""
    line = text.strip().rstrip(",")
    start = text.find("lambda")
    parts = (text[start:end].strip() for end in range(len(text), start, -1))
    for attempt in chain((text, f"({text.strip()})", f"({line})", f"{{{line}}}"), parts):
        try:
            return _tree(attempt)
        except SyntaxError:
            continue
    raise SyntaxError(text)


def _tree(text: str) -> ast.AST:
    """Parse `text`, and try again after an error that is a bug of CPython.

    CPython 3.11 counts the depth of a tree for all threads together, and now and then raises
    `SystemError` if two of them parse at once (https://github.com/python/cpython/issues/106905).
    """
    for _ in range(3):
        try:
            with _one_at_a_time:
                return ast.parse(text)
        except SystemError:
            continue
    # The source is treated as unavailable.
    raise SyntaxError(text)


def _compiled(node: ast.Lambda) -> tuple[bytes, Args] | None:
    module = compile(ast.fix_missing_locations(ast.Expression(node)), "<lambda>", "eval")
    code = next((const for const in module.co_consts if inspect.iscode(const)), None)
    if code is None:
        return None
    return (code.co_code, code.co_consts)


def input_keys(func: Any) -> list[str]:
    """Return the keys that a function reads from its first argument by `x["a"]` or `x.get("a")`, sorted."""
    code = getattr(func, "__code__", None)
    if code is None:
        return []
    if code.co_name == "<lambda>":
        lambdas = [node for node in _nodes(func) if isinstance(node, ast.Lambda)]
        if len(lambdas) > 1:
            wanted = (code.co_code, code.co_consts)
            lambdas = [node for node in lambdas if _compiled(node) == wanted]
        found: Sequence[ast.AST] = lambdas
    else:
        found = [node for node in _nodes(func) if getattr(node, "name", None) == code.co_name]
    if not found or code.co_argcount == 0:
        return []
    argument = code.co_varnames[0]
    keys = {_key_read(node, argument) for node in ast.walk(found[0])}
    return sorted(key for key in keys if key is not None)


def _key_read(node: ast.AST, argument: str) -> str | None:
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        holder = node.value
        key = node.slice
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
    ):
        holder = node.func.value
        key = node.args[0]
    else:
        return None
    named = isinstance(holder, ast.Name) and holder.id == argument
    if named and isinstance(key, ast.Constant) and isinstance(key.value, str):
        return key.value
    return None
