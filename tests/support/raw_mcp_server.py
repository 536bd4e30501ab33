"""An MCP server of plain JSON lines, which lists and answers as no well-kept server would."""

from __future__ import annotations

import json
import sys
import time

ANY = {"type": "object", "properties": {}}
TOOLS = [
    {"name": "files.read", "inputSchema": ANY},
    {"name": "files/read", "inputSchema": ANY},
    {"name": "files_read", "inputSchema": ANY},
    {"name": "x" * 80, "inputSchema": ANY},
    {
        "name": "echo",
        "inputSchema": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("self", "config", "run_manager")},
        },
    },
    {"name": "structured", "inputSchema": ANY},
    {"name": "linked", "inputSchema": ANY},
    {"name": "noisy", "inputSchema": ANY},
    {"name": "slow", "inputSchema": ANY},
]
LINK = {
    "type": "resource_link",
    "uri": "file:///notes.md",
    "name": "notes",
    "mimeType": "text/markdown",
    "description": "What was said.",
}


def result_of(name: str, arguments: object) -> dict[str, object]:
    if name == "structured":
        return {"content": [], "structuredContent": {"sum": 3}}
    if name == "linked":
        return {"content": [LINK]}
    if name == "slow":
        time.sleep(20)
    if name == "noisy":
        sys.stdout.buffer.write(b"\xff\xfe not a message\n")
        sys.stdout.buffer.flush()
    text = f"{name} {json.dumps(arguments, sort_keys=True)}"
    return {"content": [{"type": "text", "text": text}]}


if __name__ == "__main__":
    time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params") or {}
        if "id" not in message:
            continue
        result: dict[str, object] = {}
        if method == "initialize":
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "tools/call":
            result = result_of(params["name"], params.get("arguments"))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
