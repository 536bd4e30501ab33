"""An MCP server of plain JSON lines (protocol 2025-11-25) that asks, reports, changes its tools and falls silent.

What it hears besides requests goes, a line each, into the file that is its first argument.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

ANY = {"type": "object", "properties": {}}
FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "days": {"type": "integer", "default": 3},
        "class": {"type": "string", "enum": ["first", "second"]},
        "window": {"type": "boolean"},
    },
    "required": ["name"],
}
PAGE = "https://pay.example/order/7"
tools = [
    "ask",
    "ask_url",
    "need_url",
    "withdraw",
    "wait",
    "steps",
    "grow",
    "mute",
    "crash",
    "hello",
]
heard = open(sys.argv[1], "a", encoding="utf-8")  # noqa: SIM115
has_paid = False


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def receive() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    message: dict[str, Any] = json.loads(line)
    if "id" not in message:
        print(json.dumps(message), file=heard, flush=True)
    return message


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


def ask(params: dict[str, Any]) -> dict[str, Any]:
    send({"id": "q1", "method": "elicitation/create", "params": params})
    while True:
        answer = receive()
        if answer.get("id") == "q1":
            return text(json.dumps(answer.get("result") or answer["error"], sort_keys=True))


def withdraw() -> dict[str, Any]:
    params = {"mode": "form", "message": "Who?", "requestedSchema": FORM}
    send({"id": "q2", "method": "elicitation/create", "params": params})
    time.sleep(float(os.environ.get("WITHDRAW_AFTER_S", "1")))
    send({"method": "notifications/cancelled", "params": {"requestId": "q2"}})
    return text("withdrawn")


def wait() -> dict[str, Any] | None:
    open(f"{sys.argv[1]}.wait", "w").close()
    while True:
        if receive().get("method") == "notifications/cancelled":
            return None


def steps(token: Any) -> dict[str, Any]:
    for number in (1, 2, 3):
        params = {
            "progressToken": token,
            "progress": number,
            "total": 3,
            "message": f"step {number}",
        }
        if token is not None:
            send({"method": "notifications/progress", "params": params})
    return text("no token" if token is None else "stepped")


def grow() -> dict[str, Any]:
    tools.append(f"tool{len(tools)}.new")
    tools.remove("hello")
    send({"method": "notifications/tools/list_changed"})
    return text("grown")


def call(params: dict[str, Any]) -> dict[str, Any] | None:
    name = params["name"]
    actions: dict[str, Callable[[], dict[str, Any] | None]] = {
        "ask": lambda: ask({"mode": "form", "message": "Who travels?", "requestedSchema": FORM}),
        "ask_url": lambda: ask(
            {"mode": "url", "message": "Pay first.", "url": PAGE, "elicitationId": "e1"}
        ),
        "withdraw": withdraw,
        "wait": wait,
        "steps": lambda: steps((params.get("_meta") or {}).get("progressToken")),
        "grow": grow,
        "mute": lambda: time.sleep(3600),
        "crash": lambda: os._exit(3),
    }
    return actions.get(name, lambda: text(f"hello {json.dumps(params.get('arguments'))}"))()


RESOURCES = {
    "note://today": {"mimeType": "text/plain", "text": "Rain."},
    "image://sky": {"mimeType": "image/png", "blob": base64.b64encode(b"png").decode()},
    "sound://sea": {"mimeType": "audio/wav", "blob": base64.b64encode(b"wav").decode()},
    "file://report": {"mimeType": "application/pdf", "blob": base64.b64encode(b"pdf").decode()},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}, "resources": {}, "prompts": {}},
            "serverInfo": {"name": "asking", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": ANY} for name in tools]}
    if method == "tools/call":
        return call(params)
    if method == "resources/list":  # two pages
        uris = list(RESOURCES)
        first = params.get("cursor") is None
        page = [
            {"uri": uri, "name": uri.partition("://")[2]}
            for uri in (uris[:2] if first else uris[2:])
        ]
        return {"resources": page, **({"nextCursor": "2"} if first else {})}
    if method == "resources/templates/list":
        template = {
            "uriTemplate": "note://{city}/{day}",
            "name": "notes",
            "description": "Notes of a day.",
        }
        return {"resourceTemplates": [template]}
    if method == "resources/read":
        found = RESOURCES.get(
            params["uri"], {"mimeType": "text/plain", "text": f"Read {params['uri']}."}
        )
        return {"contents": [{"uri": params["uri"], **found}]}
    if method == "prompts/list":
        arguments = [{"name": "code", "required": True}, {"name": "style"}]
        return {
            "prompts": [{"name": "review", "description": "Review code.", "arguments": arguments}]
        }
    if method == "prompts/get":
        given = params.get("arguments") or {}
        return {
            "messages": [
                {
                    "role": "user",
                    "content": {"type": "text", "text": f"Review {given.get('code')}"},
                },
                {"role": "assistant", "content": {"type": "text", "text": "Gladly."}},
                {
                    "role": "user",
                    "content": {
                        "type": "resource",
                        "resource": {
                            "uri": "note://today",
                            "mimeType": "text/plain",
                            "text": "Rain.",
                        },
                    },
                },
                {
                    "role": "user",
                    "content": {"type": "image", "data": "cG5n", "mimeType": "image/png"},
                },
            ]
        }
    return {}


if __name__ == "__main__":
    while True:
        message = receive()
        if "method" not in message or "id" not in message:
            continue
        is_first_try = message["method"] == "tools/call" and message["params"]["name"] == "need_url"
        if is_first_try and not has_paid:
            has_paid = True
            wanted = {"mode": "url", "message": "Pay first.", "url": PAGE, "elicitationId": "e2"}
            data = {"elicitations": [wanted]}
            send({"id": message["id"], "error": {"code": -32042, "message": "Pay.", "data": data}})
            continue
        result = answer(message["method"], message.get("params") or {})
        if result is not None:
            send({"id": message["id"], "result": result})
