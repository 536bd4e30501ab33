"""Import paths of LangChain that modelwire accepts, without code at these paths: the table `PATHS`.

The module for a path is made when a program imports it (`modelwire.lazy`), and each name is loaded from its real module
when it is first used. `modelwire migrate` writes the real modules instead. Type checkers see the stubs that
`tests/support/old_path_stubs.py` writes. A path must not end with a name of its parent (`load.load`), because its
import would replace that name by the module.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelwire import adapters

__all__ = ["PATHS", "homes_of"]

_MESSAGES = {
    "modelwire.messages": "AIMessage AIMessageChunk AnyMessage BaseMessage BaseMessageChunk ChatMessage "
    "ChatMessageChunk FunctionMessage FunctionMessageChunk HumanMessage HumanMessageChunk RemoveMessage SystemMessage "
    "SystemMessageChunk ToolMessage ToolMessageChunk get_buffer_string messages_from_dict messages_to_dict"
}
_PARSERS = {
    "modelwire.output_parsers": "BaseCumulativeTransformOutputParser BaseGenerationOutputParser BaseLLMOutputParser "
    "BaseOutputParser BaseTransformOutputParser CommaSeparatedListOutputParser JsonOutputParser ListOutputParser "
    "MarkdownListOutputParser NumberedListOutputParser PydanticOutputParser StrOutputParser",
    "modelwire.errors": "OutputParserException",
}
_DOCUMENTS = {"modelwire.documents": "Document"}
_ROWS = {"Names", "Provider", "Service"}
_MODELS = {"modelwire.adapters": " ".join(sorted({*adapters.__all__} - _ROWS))}
_TOOL_PARSERS = {
    "modelwire.output_parsers": "JsonOutputKeyToolsParser JsonOutputToolsParser PydanticToolsParser"
}
_ENVIRONMENT = {
    "modelwire.utils.env": "convert_to_secret_str from_env get_from_dict_or_env get_from_env secret_from_env"
}

PATHS: Mapping[str, Mapping[str, str]] = {
    # langchain_openai, langchain_anthropic, langchain_aws
    "adapters.chat_models": _MODELS,
    "adapters.chat_models.azure": _MODELS,
    "adapters.chat_models.bedrock_converse": _MODELS,
    "adapters.chat_models.base": {**_MODELS, "modelwire.adapters.model.http": "HTTPChatModel"},
    "adapters.output_parsers": _TOOL_PARSERS,
    "adapters.output_parsers.tools": _TOOL_PARSERS,
    # langchain_google_genai, langchain_google_vertexai
    "adapters.model_garden": {"modelwire.adapters": "ChatAnthropicVertex"},
    # langchain
    "chat_models": {**_MODELS, "modelwire.config": "init_chat_model"},
    "chat_models.base": {
        "modelwire.adapters": "BaseChatModel",
        "modelwire.config": "init_chat_model",
    },
    "chat_models.openai": {"modelwire.adapters": "ChatOpenAI"},
    "chat_models.anthropic": {"modelwire.adapters": "ChatAnthropic"},
    "chat_models.azure_openai": {"modelwire.adapters": "AzureChatOpenAI"},
    "cache": {"modelwire.caches": "InMemoryCache SQLiteCache"},
    "schema": {
        **_MESSAGES,
        **_PARSERS,
        **_DOCUMENTS,
        "modelwire.agents": "AgentAction AgentFinish",
        "modelwire.chat_history": "BaseChatMessageHistory",
        "modelwire.outputs": "ChatGeneration ChatResult Generation LLMResult",
        "modelwire.prompt_values": "PromptValue",
        "modelwire.prompts": "BasePromptTemplate",
        "modelwire.retrievers": "BaseRetriever",
    },
    "schema.agent": {"modelwire.agents": "AgentAction AgentActionMessageLog AgentFinish"},
    "schema.document": _DOCUMENTS,
    "schema.language_model": {"modelwire.language_models": "BaseLanguageModel"},
    "schema.messages": _MESSAGES,
    "schema.output": {
        "modelwire.outputs": "ChatGeneration ChatGenerationChunk ChatResult Generation LLMResult"
    },
    "schema.output_parser": _PARSERS,
    "schema.prompt_template": {"modelwire.prompts": "BasePromptTemplate"},
    "schema.runnable": {
        "modelwire.runnables": "ConfigurableField Runnable RunnableBinding RunnableBranch RunnableConfig "
        "RunnableLambda RunnableParallel RunnablePassthrough RunnableSequence RunnableSerializable",
        "modelwire.runnables.parallel": "RunnableMap",
    },
    "schema.runnable.config": {"modelwire.runnables": "RunnableConfig"},
    "schema.runnable.passthrough": {"modelwire.runnables": "RunnablePassthrough"},
    "schema.retriever": {"modelwire.retrievers": "BaseRetriever"},
    "docstore.document": _DOCUMENTS,
    "prompts.few_shot_chat": {"modelwire.prompts": "FewShotChatMessagePromptTemplate"},
    # langchain_core
    "messages.utils": {
        "modelwire.messages": "AnyMessage MessageLikeRepresentation _message_from_dict convert_to_messages "
        "convert_to_openai_messages count_tokens_approximately filter_messages get_buffer_string merge_message_runs "
        "message_chunk_to_message messages_from_dict trim_messages",
    },
    "messages.block_translators.anthropic": {
        "modelwire.adapters.wires.anthropic.blocks_from_wire": "translate_content translate_content_chunk",
    },
    "messages.block_translators.openai": {
        "modelwire.adapters.wires.openai_responses.blocks_from_wire": "translate_content translate_content_chunk",
        "modelwire.messages": "convert_to_openai_data_block convert_to_openai_image_block",
    },
    "documents.base": _DOCUMENTS,
    "embeddings.embeddings": {"modelwire.embeddings": "Embeddings"},
    "vectorstores.base": {"modelwire.vectorstores": "VectorStore VectorStoreRetriever"},
    "outputs.chat_generation": {"modelwire.outputs": "ChatGeneration ChatGenerationChunk"},
    "outputs.chat_result": {"modelwire.outputs": "ChatResult"},
    "outputs.generation": {"modelwire.outputs": "Generation GenerationChunk"},
    "outputs.llm_result": {"modelwire.outputs": "LLMResult"},
    "runnables.graph_mermaid": {"modelwire.runnables.drawing": "draw_mermaid"},
    "runnables.graph_ascii": {"modelwire.runnables.drawing": "draw_ascii"},
    "utils.utils": _ENVIRONMENT,
    "utils.aiter": {"contextlib": "aclosing"},
    "utils.json": {
        "modelwire.messages": "parse_partial_json",
        "modelwire.output_parsers.markdown_json": "parse_and_check_json_markdown parse_json_markdown",
    },
    # modelwire itself had these paths before 2026-11-22, and pickled functions and classes name them.
    "messages.history": {"modelwire.messages": "filter_messages merge_message_runs"},
    "language_models.simple": {"modelwire.language_models": "SimpleChatModel"},
    "callbacks.file": {"modelwire.callbacks": "FileCallbackHandler"},
    "callbacks.stdout": {"modelwire.callbacks": "StdOutCallbackHandler"},
    "callbacks.streaming_stdout": {"modelwire.callbacks": "StreamingStdOutCallbackHandler"},
    "tracers.log_stream": {"modelwire.runnables.log": "LogEntry RunLog RunLogPatch RunState"},
    "language_models.chat_models": {
        "modelwire.language_models": "BaseChatModel LanguageModelInput SimpleChatModel",
        "modelwire.language_models.simple_chat_model": "agenerate_from_stream generate_from_stream",
    },
    "language_models.fake_chat_models": {
        "modelwire.testing.fake_chat_models": "FakeChatModel FakeListChatModel FakeListChatModelError "
        "FakeMessagesListChatModel GenericFakeChatModel ParrotFakeChatModel",
    },
    "runnables.utils": {
        "modelwire.runnables": "AddableDict ConfigurableField ConfigurableFieldMultiOption "
        "ConfigurableFieldSingleOption ConfigurableFieldSpec aadd add",
        "modelwire.runnables.base": "Input Output",
        "modelwire.runnables.fields": "AnyConfigurableField get_unique_config_specs",
    },
}


def homes_of(path: str) -> Mapping[str, str] | None:
    """Return the real modules of the names at `modelwire.<path>`: module -> names, separated by spaces.

    Return None for an unknown path, and an empty mapping for a package that only contains known paths.
    """
    inner = path.removeprefix("modelwire.")
    found = PATHS.get(inner)
    if found is None and any(known.startswith(f"{inner}.") for known in PATHS):
        return {}
    return found
