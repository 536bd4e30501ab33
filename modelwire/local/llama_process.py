"""The child process that runs llama.cpp's server. `server.py` starts this file as a script, which imports no module of
modelwire: the child may not find them.

It prints `listening http://127.0.0.1:PORT` to standard output once the model is loaded, and ends
when its standard input is closed or its parent has ended.

llama.cpp answers requests with any `Host` header. A web page whose host name has been redirected to
this machine (DNS rebinding) could therefore use it through the user's browser. So llama.cpp listens
on a Unix socket in a private folder, and this process forwards requests from the TCP port only if
their `Host` names this machine.
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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelwire.aliases import Kwargs

REFUSAL = b'{"error": {"message": "This server answers this machine only: see `Host`.", "type": "forbidden"}}'


def _end_with_parent(parent_pid: int, folder: str) -> None:
    if os.name == "posix":
        import select

        # The parent's id is checked because a fork of the parent may outlive it and still hold the
        # pipe open.
        while os.getppid() == parent_pid:
            ready, _, _ = select.select([0], [], [], 1.0)
            if ready and not os.read(0, 1):
                break
    else:
        while os.read(0, 1):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _start(options: Kwargs, place: str) -> Any:
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
    if options["embeddings"]:
        # A text is embedded in one piece, so the longest text must fit into a batch.
        params.embedding = True
        params.n_batch = params.n_ubatch = options["n_ctx"] // options["n_parallel"]
        if not _names_pooling(options["model"]):
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # If it is empty, llama.cpp uses the template in the weights.
    params.chat_template = options["chat_template"]
    params.verbosity = 1  # llama.cpp logs errors only; the log is for a failed start.
    # Old prompts are cached in this much memory. llama.cpp's default is 8 GB.
    params.cache_ram_mib = 256
    params.ui = False
    params.endpoint_slots = False  # This endpoint would show the prompts of other users.
    # llama.cpp's default allows any web page in the user's browser to read answers.
    params.cors_origins = "http://127.0.0.1"
    return xllamacpp.Server(params)


def _names_pooling(path: str) -> bool:
    """Return whether the file of a model names a pooling type, by which token vectors become one vector of a text.

    The hyperparameters of a model are before its vocabulary in a GGUF file, so within the first bytes.
    """
    with open(path, "rb") as file:
        return b".pooling_type" in file.read(1 << 16)


async def _serve(listener: socket.socket, inner: str) -> None:
    async def let_in(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Forward a connection if its first request names this machine.

        Later requests need no check, because a browser never shares a connection between two sites.
        """
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
            pass  # The client has disconnected, or does not speak HTTP.
        finally:
            answer.close()

    server = await asyncio.start_server(let_in, sock=listener)
    print(f"listening http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - the parent waits for it
    os.dup2(2, 1)  # The parent does not read further output.
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
    name = ""
    if found:
        name = found[1].decode("latin-1").strip().lower()
    # RFC 6761, 6.3
    return name in ("", "localhost", "127.0.0.1", "[::1]") or name.endswith(".localhost")


def main() -> None:
    options = json.loads(sys.argv[1])
    sys.path.append(options["packages"])
    folder = tempfile.mkdtemp(prefix="modelwire-")
    threading.Thread(target=_end_with_parent, args=(os.getppid(), folder), daemon=True).start()
    place = os.path.join(folder, "llama.sock")
    # The system limits the length of a socket's path. For a longer path, llama.cpp listens on a port
    # that is not announced.
    has_sockets = os.name == "posix" and len(place) < 100
    try:
        listener = socket.create_server(("127.0.0.1", options["port"]), backlog=1024)
        server = _start(options, place if has_sockets else "127.0.0.1")
        asyncio.run(_serve(listener, server.listening_address))
    except (ImportError, OSError, RuntimeError) as exc:
        # The error is one line; the log contains llama.cpp's own lines before it.
        sys.exit(str(exc))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
