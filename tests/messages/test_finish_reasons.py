"""The table of reasons, against the SDKs that are installed: every reason they know is in it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import get_args

import botocore
import pytest
from anthropic.types.beta import BetaStopReason
from google.genai.types import FinishReason
from openai.types.chat.chat_completion import Choice
from openai.types.responses import ResponseStatus
from openai.types.responses.response import IncompleteDetails

from modelwire.adapters.wires.openai_chat.response import FAILED
from modelwire.adapters.wires.wire import WIRES
from modelwire.messages.finish_reasons import ENDINGS, Ending, ending_of


def literals(annotation: object) -> set[str]:
    found = get_args(annotation)
    return {it for it in found if isinstance(it, str)}.union(*map(literals, found))


def reasons_of_bedrock() -> set[str]:
    home = Path(botocore.__file__).parent / "data" / "bedrock-runtime"
    packed = next(home.glob("*/service-2.json.gz"))
    return set(json.loads(gzip.decompress(packed.read_bytes()))["shapes"]["StopReason"]["enum"])


OF_SDKS = {
    "openai": literals(Choice.model_fields["finish_reason"].annotation),
    "responses": (literals(ResponseStatus) - {"incomplete"})
    | literals(IncompleteDetails.model_fields["reason"].annotation),
    "anthropic": literals(BetaStopReason),
    "bedrock": reasons_of_bedrock(),
    "gemini": {reason.value for reason in FinishReason},
}


@pytest.mark.parametrize("wire", WIRES)
def test_every_reason_that_the_sdk_knows_is_in_the_table(wire: str) -> None:
    assert OF_SDKS[wire]
    assert OF_SDKS[wire] - set(ENDINGS[wire]) == set()


def test_every_reason_that_chat_completions_reads_as_an_error_is_broken() -> None:
    assert {ending_of("openai", reason) for reason in FAILED} == {Ending.BROKEN}


def test_a_reason_of_another_wire_is_known_behind_a_gateway() -> None:
    assert ending_of("openai", "end_turn") is Ending.WHOLE
    assert ending_of("openai", "went_fishing") is None
