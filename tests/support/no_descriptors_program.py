"""A program that runs out of file descriptors between its first call and its second: how does the second one fail?

Called as `no_descriptors_program.py URL REFUSING_URL COLOUR ENGINE`, it prints the error's class, how many attempts
were made, and the answer of a third call, for which there are descriptors again.
"""

import asyncio
import os
import resource
import sys
from typing import Any

from modelwire import init_chat_model

_MOST = 64


def main(url: str, other_url: str, colour: str, engine: str) -> None:
    loop = asyncio.new_event_loop()

    def call(base_url: str) -> Any:
        settings = {"api_key": "k", "max_retries": 2, "rate_limit": None, "engine": engine}
        model: Any = init_chat_model("openai:m", base_url=base_url, **settings)
        if colour == "sync":
            return model.invoke("hi")
        return loop.run_until_complete(model.ainvoke("hi"))

    call(url)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST, hard))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        call(other_url)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is printed
        error = exc
    for descriptor in held:
        os.close(descriptor)
    print(type(error).__name__, len(getattr(error, "attempts", ())), call(other_url).text)


if __name__ == "__main__":
    main(*sys.argv[1:])
