"""The process in which llama.cpp serves. Run as a script by `server.py`; imports nothing of ours.

Says `listening http://127.0.0.1:PORT` on its standard output when the model is loaded, and ends when its standard
input is closed or its parent is gone.

llama.cpp answers whatever name a request calls it by. A web page whose name leads to this machine by now (DNS
rebinding) could use it through the user's browser. So it listens on a socket in a folder of the user's own, and what
comes to the port is passed on from here, if it names this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
from typing import Any

REFUSAL = b'{"error": {"message": "This server answers this machine only: see `Host`.", "type": "forbidden"}}'


def _end_with_parent(parent_pid: int, folder: str) -> None:
    if os.name == "posix":
        import select

        # The look at the parent's id is for a fork of the parent that outlives it and still holds the pipe.
        while os.getppid() == parent_pid:
            ready, _, _ = select.select([0], [], [], 1.0)
            if ready and not os.read(0, 1):
                break
    else:
        while os.read(0, 1):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _start(options: dict[str, Any], place: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["model"]
    params.model_alias = {options["alias"]}
    params.hostnames = [place]
    params.port = 0
    params.n_ctx = options["n_ctx"]
    params.n_parallel = options["n_parallel"]
    params.cpuparams.n_threads = options["n_threads"]
    params.use_jinja = True
    params.chat_template = options["chat_template"]  # empty: the weights' own
    params.verbosity = 1  # errors only: the log is for a start that fails
    params.cache_ram_mib = 256  # old prompts kept in memory; its own default is 8 GB
    params.ui = False
    params.endpoint_slots = False  # it shows other people's prompts
    params.cors_origins = (
        "http://127.0.0.1"  # its own default lets any web page in the user's browser read answers
    )
    return xllamacpp.Server(params)


async def _serve(listener: socket.socket, inner: str) -> None:
    async def let_in(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Pass a connection on by its first request: a browser has no connection that two sites share."""
        try:
            head = await client.readuntil(b"\r\n\r\n")
            if not _names_this_machine(head):
                answer.write(
                    b"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\n"
                )
                answer.write(b"content-length: %d\r\n\r\n%b" % (len(REFUSAL), REFUSAL))
                return
            reader, writer = await _connect(inner)
            writer.write(head)
            await asyncio.gather(_pass_on(client, writer), _pass_on(reader, answer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it is gone, or speaks no HTTP
        finally:
            answer.close()

    server = await asyncio.start_server(let_in, sock=listener)
    print(f"listening http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - the parent waits for it
    os.dup2(2, 1)  # nobody reads our output from here on
    await server.serve_forever()


async def _connect(inner: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if inner.startswith("unix://"):
        return await asyncio.open_unix_connection(inner.removeprefix("unix://"))
    return await asyncio.open_connection("127.0.0.1", int(inner.rpartition(":")[2]))


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    finally:
        target.close()


def _names_this_machine(head: bytes) -> bool:
    found = re.search(rb"(?im)^host:[ \t]*(\[[^\]]*\]|[^:\r]*)", head)
    name = found[1].decode("latin-1").strip().lower() if found else ""
    return name in ("", "localhost", "127.0.0.1", "[::1]") or name.endswith(
        ".localhost"
    )  # RFC 6761, 6.3


def main() -> None:
    options = json.loads(sys.argv[1])
    sys.path.append(options["packages"])
    folder = tempfile.mkdtemp(prefix="modelwire-")
    threading.Thread(target=_end_with_parent, args=(os.getppid(), folder), daemon=True).start()
    place = os.path.join(folder, "llama.sock")
    has_sockets = (
        os.name == "posix" and len(place) < 100
    )  # the longest address of one; else a port nobody is told
    try:
        listener = socket.create_server(("127.0.0.1", options["port"]), backlog=1024)
        server = _start(options, place if has_sockets else "127.0.0.1")
        asyncio.run(_serve(listener, server.listening_address))
    except (ImportError, OSError, RuntimeError) as exc:
        sys.exit(str(exc))  # one line: the reason stands in llama.cpp's own lines before it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
