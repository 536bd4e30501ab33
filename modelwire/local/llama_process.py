"""The process in which llama.cpp serves. Run as a script by `server.py`; imports nothing of ours.

Says `listening http://127.0.0.1:PORT` on its standard output when the model is loaded, and ends when its standard
input is closed or its parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any


def _end_with_parent(parent_pid: int) -> None:
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
    os._exit(0)


def _start(options: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["model"]
    params.model_alias = {options["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = options["port"]
    params.n_ctx = options["n_ctx"]
    params.n_parallel = options["n_parallel"]
    params.cpuparams.n_threads = options["n_threads"]
    params.use_jinja = True
    params.chat_template = options["chat_template"]  # empty: the weights' own
    params.verbosity = 1  # errors only: the log is for a start that fails
    params.cache_ram_mib = 256  # old prompts kept in memory; its own default is 8 GB
    params.ui = False
    params.endpoint_slots = False  # it shows other people's prompts
    params.cors_origins = "http://127.0.0.1"  # its own default lets any web page in the user's browser read answers
    return xllamacpp.Server(params)


def main() -> None:
    options = json.loads(sys.argv[1])
    sys.path.append(options["packages"])
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        server = _start(options)
    except (ImportError, RuntimeError) as exc:
        sys.exit(str(exc))  # one line: the reason stands in llama.cpp's own lines before it
    print(f"listening {server.listening_address}", flush=True)  # noqa: T201 - how the parent learns the port
    os.dup2(2, 1)  # nobody reads our output from here on
    threading.Event().wait()


if __name__ == "__main__":
    main()
