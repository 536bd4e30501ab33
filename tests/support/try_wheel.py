"""Install a built wheel bare and with each extra, each in a fresh virtual environment, and use what the extra is for.

    python tests/support/try_wheel.py dist/modelwire-0.1.0-py3-none-any.whl [EXTRA ...]

Needs only the standard library, pip, and a package index. Without names: every extra but those of `HUGE`.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
HUGE = {"ray": "270 MB", "local": "94 MB of weights"}  # `make dist EXTRAS="ray local"` tries them
# What nobody installs to use modelwire.
OURS = {"browser", "dev", "dist", "docs", "langchain-dev"}

SERVED = """
import asyncio, os, sys
from modelwire.testing import ProviderServer
server = ProviderServer().__enter__()
os.environ.update(OPENAI_API_KEY="k", OPENAI_BASE_URL=server.base_url_for("openai"))
from modelwire import init_chat_model
model = init_chat_model("openai:gpt-4o-mini")
"""
SDK = """
from modelwire.adapters import Chat{title}
from {name} import {title}
client = {title}(api_key="k", base_url=server.base_url_for("{name}").removesuffix("{version}"))
assert Chat{title}(model="m", client=client).invoke("one two").text == "one two"
"""
OPENAI = SDK.format(title="OpenAI", name="openai", version="-")
ANTHROPIC = SDK.format(title="Anthropic", name="anthropic", version="/v1")

# What each is for, used once, against the package's own test server.
SMOKES = {
    "": """
from modelwire.errors import MissingDependency
assert model.invoke("one two").text == "one two"
assert "".join(chunk.text for chunk in model.stream("one two")) == "one two"
assert [one.text for one in asyncio.run(model.abatch(["one", "two"]))] == ["one", "two"]
for wire in ("responses", "anthropic", "gemini", "bedrock"):
    assert server.model(wire).invoke("one").text == "one", wire
for heavy in ("openai", "anthropic", "rich", "aiohttp", "pyarrow", "langchain_core"):
    assert heavy not in sys.modules
from modelwire import cli
assert cli.main(["ask", "one two", "-m", "openai:m", "--no-log"]) == 0
try:
    init_chat_model("openai:m", engine="aiohttp")
    asyncio.run(init_chat_model("openai:m", engine="aiohttp").ainvoke("hi"))
except MissingDependency as exc:
    assert "modelwire[aiohttp]" in str(exc)
else:
    raise SystemExit("aiohttp came with the bare package")
""",
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "batch": OPENAI
    + ANTHROPIC
    + """
job = model.submit_batch(["one", "two"], dir="a.job")
job.wait()
assert [result.output.text for result in job.results()] == ["one", "two"]
""",
    "google": """
import google.genai
from google.oauth2.credentials import Credentials
from modelwire.adapters import ChatVertexAI
vertex = ChatVertexAI(model="gemini-2.5-flash", project="p", location="us", credentials=Credentials("token"),
                      base_url=server.base_url_for("gemini"))
assert vertex.invoke("one").text == "one"
""",
    "bedrock": """
from modelwire.adapters import ChatBedrockConverse
os.environ.update(AWS_ACCESS_KEY_ID="AKIAEXAMPLE", AWS_SECRET_ACCESS_KEY="secret", AWS_REGION="us-east-1")
signed = ChatBedrockConverse(model="m", base_url=server.base_url_for("bedrock"))
assert signed.invoke("one").text == "one"
assert server.requests[-1].headers["authorization"].startswith("AWS4-HMAC-SHA256")
""",
    "otel": """
import modelwire.otel
modelwire.otel.instrument()
assert model.invoke("one").text == "one"
modelwire.otel.uninstrument()
""",
    "redis": """
import modelwire
assert modelwire.shared("redis://127.0.0.1:1").is_away
assert model.invoke("one").text == "one"
""",
    "aiohttp": """
async def main():
    quick = init_chat_model("openai:m", engine="aiohttp")
    assert (await quick.ainvoke("one")).text == "one"
asyncio.run(main())
assert "aiohttp" in sys.modules
""",
    "jobs": """
from modelwire.jobs import price_of, run_job
result = run_job("Say {word}", [{"word": "one"}, {"word": "two"}], model=model, output="a.csv")
assert [row["answer"] for row in result] == ["Say one", "Say two"]
assert result.cost > 0
""",
    "parquet": """
from modelwire.jobs import run_job
result = run_job("Say {word}", [{"word": "one"}, {"word": "two"}], model=model, output="a.parquet")
assert [row["answer"] for row in result] == ["Say one", "Say two"]
assert result.to_arrow().num_rows == 2
""",
    "jinja2": """
from modelwire import ChatPromptTemplate
prompt = ChatPromptTemplate.from_messages([("human", "{% for a in b %}{{ a }},{% endfor %}")], template_format="jinja2")
assert (prompt | model).invoke({"b": [1, 2]}).text == "1,2,"
""",
    "migrate": """
from pathlib import Path
from modelwire import cli
Path("old.py").write_text("from langchain_openai import ChatOpenAI")
assert cli.main(["migrate", "old.py", "--write"]) == 0
assert Path("old.py").read_text().strip() == "from modelwire.adapters import ChatOpenAI"
""",
    "cli": """
import prompt_toolkit, rich.markdown
from modelwire import cli
assert cli.main(["ask", "one two", "-m", "openai:m", "--no-log"]) == 0
""",
    "mcp": f"""
import subprocess
done = subprocess.run([sys.executable, {str(ROOT / "examples" / "mcp_tools.py")!r}], capture_output=True, text=True)
assert "Sagres" in done.stdout, done.stderr
""",
    "langchain": """
from langchain_core.messages import HumanMessage
from modelwire.langchain import as_langchain
answer = as_langchain(model).invoke([HumanMessage("one two")])
assert (type(answer).__module__, answer.text) == ("langchain_core.messages.ai", "one two")
""",
    "testing": """
import pytest
from pathlib import Path
Path("test_it.py").write_text('''
from modelwire.adapters import ChatOpenAI

def test_a_call_reaches_the_server(provider_server):
    assert provider_server.model().invoke("one").text == "one"

def test_a_call_that_leaves_the_machine_fails():
    ChatOpenAI(model="m", api_key="k", base_url="https://example.com/v1").invoke("one")
''')
options = ["-q", "-p", "no:cacheprovider", "test_it.py", "-k"]
assert pytest.main([*options, "reaches"]) == 0
assert pytest.main([*options, "leaves"]) == 1
""",
    "profiles": """
assert "models.dev" in str(model.profile)
""",
    "ray": """
from modelwire.jobs import run_job
result = run_job("Say {word}", [{"word": "one"}] * 4, model=model, output="a.csv", engine="ray", workers=1)
assert [row["answer"] for row in result] == ["Say one"] * 4
""",
    "local": """
from modelwire import local
local.pull("smollm2")
assert init_chat_model("local:smollm2", max_tokens=8).invoke("Say hello").text
""",
}


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"$ {shlex.join(map(str, command))[:200]}\n{done.stdout}\nfailed")


def try_extra(wheel: Path, extra: str) -> None:
    """Install the wheel with `extra` ("" is none) and run its smoke, in a folder outside of the repository."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        python = (
            folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        )
        run(
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            f"{wheel}[{extra}]" if extra else wheel,
            cwd=folder,
        )
        run(python, "-m", "pip", "check", cwd=folder)
        run(python, "-m", "modelwire", "--version", cwd=folder)
        found = f"import modelwire, sys\nassert modelwire.__file__.startswith(sys.prefix), modelwire.__file__\n{SERVED}"
        run(python, "-c", found + SMOKES[extra], cwd=folder)


def main(wheel: str, *wanted: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [
        "",
        *(
            name
            for name in project["optional-dependencies"]
            if name not in OURS and name not in HUGE
        ),
    ]
    for extra in wanted or extras:
        try_extra(Path(wheel).resolve(), extra)
        print(
            f"modelwire[{extra}] installs and works" if extra else "modelwire installs and works",
            flush=True,
        )
    if not wanted:
        left = ", ".join(f"{name} ({size})" for name, size in HUGE.items())
        print(
            f'left out for their size: {left}; try them with `make dist EXTRAS="{" ".join(HUGE)}"`'
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
