from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from modelwire.callbacks import BaseCallbackHandler, adispatch_custom_event, dispatch_custom_event
from modelwire.errors import CallerError
from modelwire.runnables import RunnableLambda


class Custom(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.heard.append((name, data, kwargs))


def step(**kwargs: Any) -> RunnableLambda[Any, Any]:
    def sync(value: Any) -> Any:
        dispatch_custom_event("mine", {"v": value}, **kwargs)
        return value

    async def twin(value: Any) -> Any:
        await adispatch_custom_event("mine", {"v": value}, **kwargs)
        return value

    return RunnableLambda(sync, twin)


def test_a_custom_event_belongs_to_the_run_around_it(colour: Any) -> None:
    handler, run_id = Custom(), uuid4()
    colour.invoke(step(), 1, {"callbacks": [handler], "run_id": run_id})
    assert handler.heard == [("mine", {"v": 1}, {"run_id": run_id, "tags": [], "metadata": {}})]


def test_a_custom_event_that_nobody_listens_to_is_free_to_go(colour: Any) -> None:
    assert colour.invoke(step(), 1) == 1


@pytest.mark.parametrize("config", [None, {"callbacks": [Custom()]}])
def test_a_custom_event_outside_of_a_run_is_an_error(colour: Any, config: Any) -> None:
    with pytest.raises(RuntimeError, match="outside of a run") as caught:
        colour.run(
            lambda: dispatch_custom_event("mine", 1, config=config),
            lambda: adispatch_custom_event("mine", 1, config=config),
        )
    assert isinstance(caught.value, CallerError)
