"""A web service that streams answers as server-sent events (FastAPI). A reader who leaves stops the model.

python examples/server_sent_events.py                          ask it once, in this process, and print the events
uvicorn --app-dir examples server_sent_events:app              serve it; then open http://127.0.0.1:8000 or
curl -N 'http://127.0.0.1:8000/answer?question=What+is+a+violin'
MODEL=openai:gpt-4o-mini uvicorn ...                           with a provider
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx2
from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from stand_in import chosen_model

from modelwire import ChatPromptTemplate, ModelwireError, StrOutputParser

prompt = ChatPromptTemplate.from_messages(
    [("system", "You answer briefly."), ("human", "{question}")]
)
model = chosen_model([], lambda text: f"You asked: {text}", max_tokens=100)
chain = prompt | model | StrOutputParser()
app = FastAPI()


async def events(question: str) -> AsyncIterator[str]:
    """Yield one event for each piece, then `end`; a failure comes as `error`, as the status has been sent."""
    try:
        async with aclosing(chain.astream({"question": question})) as pieces:
            async for piece in pieces:
                yield f"data: {json.dumps({'text': piece})}\n\n"
    except ModelwireError as exc:
        yield f"event: error\ndata: {json.dumps({'error': type(exc).__name__})}\n\n"
        return
    yield "event: end\ndata: {}\n\n"


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).with_suffix(".html"))


@app.get("/answer")
async def answer(question: str) -> StreamingResponse:
    return StreamingResponse(
        events(question), media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )


async def main() -> None:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
        response = await client.get("/answer", params={"question": "What is a violin?"})
    print(response.headers["content-type"], response.text, sep="\n", end="")


if __name__ == "__main__":
    asyncio.run(main())
