"""The source text of the user's functions, for `repr` alone: reading source is slow."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

__all__ = ["shown"]


def shown(func: Any) -> str:
    """Show a function: a lambda by its source, anything else by its name."""
    name = getattr(func, "__name__", None)
    if name == "<lambda>":
        return lambda_source(func) or "lambda"
    return str(name) if name is not None else repr(func)


def lambda_source(func: Any) -> str | None:
    """Find the source of a lambda; None when it is not to be had, or when its line holds several that fit."""
    try:
        lines, _ = inspect.getsourcelines(func)
        tree = _parsed(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    wanted = func.__code__.co_code, func.__code__.co_consts
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    if len(lambdas) > 1:
        fitting = [node for node in lambdas if _compiled(node) == wanted]
        lambdas = fitting or lambdas
    return ast.unparse(lambdas[0]) if lambdas else None


def _parsed(text: str) -> ast.AST:
    """Parse lines that may begin or end in the middle of a statement, such as those of a chain in parentheses."""
    attempts = (text, f"({text.strip()})", f"({text.strip().rstrip(',')})", f"{{{text.strip().rstrip(',')}}}")
    for attempt in attempts:
        try:
            return ast.parse(attempt)
        except SyntaxError:
            continue
    start = text.find("lambda")
    for end in range(len(text), start, -1):
        try:
            return ast.parse(text[start:end].strip())
        except SyntaxError:
            continue
    raise SyntaxError(text)


def _compiled(node: ast.Lambda) -> tuple[bytes, tuple[Any, ...]] | None:
    module = compile(ast.fix_missing_locations(ast.Expression(node)), "<lambda>", "eval")
    code = next((const for const in module.co_consts if inspect.iscode(const)), None)
    return None if code is None else (code.co_code, code.co_consts)
