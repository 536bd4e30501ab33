"""Every wire of the registry is whole, is found by its name, and loads no codec before a call needs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelwire
import modelwire.jobs.batch_api.registry
from modelwire.adapters.wires.wire import WIRES, ChatCall, Endpoint, loaded, wire_named
from modelwire.messages import HumanMessage

PACKAGE = Path(str(modelwire.__file__)).parent
# The public classes may: each is of one provider.
MAY_ASK = {"adapters/providers/openai.py", "adapters/providers/anthropic.py"}
ASKS = re.compile(
    r'TOOL_SHAPE|[!=]= ?"(anthropic|openai|responses)"|"(anthropic|openai|responses)" ?[!=]='
)


@pytest.mark.parametrize("name", WIRES)
def test_a_wire_is_what_its_parts_say(name: str) -> None:
    wire = wire_named(name)
    codec = wire.codec("someone")
    assert (wire.name, getattr(codec, "wire", None), codec.provider) == (name, name, "someone")
    assert wire.codec("someone") is codec  # each call asks
    request = codec.encode(ChatCall([HumanMessage("hi")], "m", Endpoint("https://a.test")))
    assert request.url.endswith(wire.path)


@pytest.mark.parametrize("name", WIRES)
def test_its_class_speaks_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")  # some need to know where
    wire = wire_named(name)
    model = loaded(wire.model_class)(model="m", api_key="k", **wire.model_options)
    assert model._wire() is wire
    assert model.build_request("hi").url.endswith(wire.path)
    assert model.provider == wire.owner


@pytest.mark.parametrize("name", WIRES)
def test_its_batch_api_and_its_families_are_there(name: str) -> None:
    wire = wire_named(name)
    has_batches = name in ("openai", "responses", "anthropic", "gemini")
    assert (wire.batch_api is not None) is has_batches
    assert wire.batch_api is None or wire.batch_api(azure=False).max_rows > 0
    assert wire.families is not None
    assert wire.families().rows[wire.owner]


def test_nothing_outside_the_wires_asks_which_wire_it_is() -> None:
    asking = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "wires" not in path.relative_to(PACKAGE).parts and ASKS.search(path.read_text("utf-8"))
    }
    assert asking <= MAY_ASK


def modules_after(code: str) -> set[str]:
    program = f"import json, sys\n{code}\nprint(json.dumps([name for name in sys.modules if '.wires.' in name]))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_wire_that_nobody_calls_is_not_loaded() -> None:
    made = "from modelwire.adapters import ChatAnthropic, ChatOpenAI\nmodel = ChatOpenAI(model='m', api_key='k')"
    assert modules_after(made) == {"modelwire.adapters.wires.wire"}
    called = modules_after(f"{made}\nmodel.build_request('hi')")
    assert "modelwire.adapters.wires.openai_chat.codec" in called
    assert not any(".anthropic" in name or ".openai_responses" in name for name in called)
