"""Chat models of every provider behind one small, fast interface.

    from modelwire import init_chat_model

    model = init_chat_model("openai:gpt-4o-mini", temperature=0)
    print(model.invoke("hi").content)

A part of the package is loaded when a program first uses it; `import modelwire` loads none (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from modelwire.adapters import ChatAnthropic as ChatAnthropic
    from modelwire.adapters import ChatOpenAI as ChatOpenAI
    from modelwire.budgets import budget as budget
    from modelwire.config import init_chat_model as init_chat_model
    from modelwire.embeddings import init_embeddings as init_embeddings
    from modelwire.errors import ModelwireError as ModelwireError
    from modelwire.messages import AIMessage as AIMessage
    from modelwire.messages import AIMessageChunk as AIMessageChunk
    from modelwire.messages import HumanMessage as HumanMessage
    from modelwire.messages import SystemMessage as SystemMessage
    from modelwire.messages import ToolMessage as ToolMessage
    from modelwire.output_parsers import StrOutputParser as StrOutputParser
    from modelwire.pools import pool as pool
    from modelwire.prompts import ChatPromptTemplate as ChatPromptTemplate
    from modelwire.prompts import MessagesPlaceholder as MessagesPlaceholder
    from modelwire.runnables import RunnableConfig as RunnableConfig
    from modelwire.runnables import RunnableLambda as RunnableLambda
    from modelwire.runnables import RunnableParallel as RunnableParallel
    from modelwire.runnables import RunnablePassthrough as RunnablePassthrough
    from modelwire.sharing import shared as shared
    from modelwire.tools.loop import arun_tools as arun_tools
    from modelwire.tools.loop import astream_tools as astream_tools
    from modelwire.tools.loop import run_tools as run_tools
    from modelwire.tools.loop import stream_tools as stream_tools
    from modelwire.transport.logs import enable_logging as enable_logging

lazy.find_old_paths()
__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.adapters": ["ChatAnthropic", "ChatOpenAI"],
        "modelwire.budgets": ["budget"],
        "modelwire.config": ["init_chat_model"],
        "modelwire.embeddings": ["init_embeddings"],
        "modelwire.errors": ["ModelwireError"],
        "modelwire.messages": [
            "AIMessage",
            "AIMessageChunk",
            "HumanMessage",
            "SystemMessage",
            "ToolMessage",
        ],
        "modelwire.output_parsers": ["StrOutputParser"],
        "modelwire.pools": ["pool"],
        "modelwire.prompts": ["ChatPromptTemplate", "MessagesPlaceholder"],
        "modelwire.runnables": [
            "RunnableConfig",
            "RunnableLambda",
            "RunnableParallel",
            "RunnablePassthrough",
        ],
        "modelwire.sharing": ["shared"],
        "modelwire.tools.loop": ["arun_tools", "astream_tools", "run_tools", "stream_tools"],
        "modelwire.transport.logs": ["enable_logging"],
    },
)
