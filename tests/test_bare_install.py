"""A plain install brings no SDK: chat, streams and batches do without, the Batch APIs say what they need."""

import json
import subprocess
import sys

from modelwire.testing import ProviderServer

PROGRAM = """
import json, sys
missing = ("openai", "anthropic", "aiohttp", "rich", "genai_prices", "pyarrow", "google.auth", "google.genai",
           "botocore", "boto3")
sys.modules.update(dict.fromkeys(missing))
from modelwire.adapters import ChatAnthropic, ChatBedrockConverse, ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.errors import MissingDependency
urls, folder = json.loads(sys.argv[1]), sys.argv[2]
key = {"model": "m", "api_key": "k"}
models = {
    "openai": lambda **more: ChatOpenAI(**key, **more),
    "responses": lambda **more: ChatOpenAI(**key, use_responses_api=True, **more),
    "anthropic": lambda **more: ChatAnthropic(**key, **more),
    "bedrock": lambda **more: ChatBedrockConverse(**key, region_name="us-east-1", **more),
    "gemini": lambda **more: ChatGoogleGenerativeAI(**key, **more),
}
for wire, url in urls.items():
    model = models[wire](base_url=url)
    texts = [model.invoke("one").text, "".join(chunk.text for chunk in model.stream("two"))]
    refusal = ""
    if wire in ("openai", "responses", "anthropic"):
        try:
            model.submit_batch(["four"], dir=f"{folder}/{wire}.job")
        except MissingDependency as error:
            refusal = str(error)
    print(json.dumps([wire, *texts, len(model.batch(["three"] * 3)), refusal]))
"""


def test_chat_streams_and_batches_need_no_sdk_and_the_batch_apis_name_their_extra(
    tmp_path: object,
) -> None:
    with ProviderServer() as server:
        urls = {
            wire: server.base_url_for(wire)
            for wire in ("openai", "responses", "anthropic", "bedrock", "gemini")
        }  # type: ignore[arg-type]
        command = [sys.executable, "-c", PROGRAM, json.dumps(urls), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert not server.batches.made
    said = {wire: rest for wire, *rest in map(json.loads, done.stdout.splitlines())}
    assert said.keys() == urls.keys()
    for wire, (*texts, count, refusal) in said.items():
        assert (texts, count) == (["one", "two"], 3), wire
        assert ("pip install 'modelwire[batch]'" in refusal) is (
            wire in ("openai", "responses", "anthropic")
        )
