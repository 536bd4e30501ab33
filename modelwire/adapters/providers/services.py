"""The rows of the services whose API is compatible with OpenAI's or Anthropic's. They need no other classes.

A row has only differences from OpenAI that the service documents or its recorded answers show, read 2026-11 unless the
row has another date. This module is loaded when a model names a service, and never by a plain `ChatOpenAI`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from modelwire import lazy
from modelwire.adapters.environment import from_environment
from modelwire.adapters.providers.rows import Names
from modelwire.adapters.wires.wire import HOME_WIRE
from modelwire.errors import InvalidArgument, did_you_mean

if TYPE_CHECKING:
    from modelwire.adapters.providers import plugins
else:
    plugins = lazy.module("modelwire.adapters.providers.plugins")

_NO_PENALTIES = ("frequency_penalty", "presence_penalty")
_LOGPROBS = ("logprobs", "top_logprobs")


class Service(NamedTuple):
    """A compatible service. `{place}` in `base_url` and `wires` is replaced by the host or the region of an account."""

    # LangChain's name of the service if it has one.
    name: str
    # The page that documents the API.
    docs: str
    # The address of Chat Completions.
    base_url: str
    # The environment variables that may contain the key, the best one first.
    keys: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    # The beginnings of its models' names, if no other provider's models have them.
    models: tuple[str, ...] = ()
    # The environment variables whose value replaces `{place}`. The first that is set is used.
    place: tuple[str, ...] = ()
    # The environment variables that may contain another address.
    url_variables: tuple[str, ...] = ()
    # Its other wires and their addresses, as our classes take them (`ChatAnthropic` adds `/v1/messages`).
    wires: tuple[tuple[str, str], ...] = ()
    # The header with the key. `Authorization` has a bearer token, any other header the key itself.
    key_header: str = "Authorization"
    works_without_key: bool = False

    # Its name of the limit of an answer.
    max_tokens_name: str = "max_tokens"
    # False: it rejects or ignores `stream_options`, or sends the usage of streams anyway.
    takes_stream_options: bool = True
    # The default method of `with_structured_output`. "function_calling": not all models accept JSON schemas.
    structured_by: str = "json_schema"
    # The parameters of Chat Completions that it rejects, or is documented to ignore.
    lacks: tuple[str, ...] = ()
    # By wire, the parameters of its other wires that it rejects, or is documented to ignore.
    lacks_at: tuple[tuple[str, tuple[str, ...]], ...] = ()
    # Pairs of a parameter's common name and its own name.
    renames: tuple[tuple[str, str], ...] = ()
    # For some parameters in `lacks`: advice to the caller, a sentence without its end.
    instead: tuple[tuple[str, str], ...] = ()

    # The names of its own parameters, which are sent unchanged, separated by spaces. "*": the parameters of all wires.
    own: str = ""
    # A parameter of reasoning of another wire that it has too. It is sent unchanged.
    reasoning_word: str = ""
    # `thinking` turns reasoning off.
    thinking_switch: bool = False
    # It has levels of reasoning.
    effort_levels: bool = True
    # `reasoning` is an object with an effort or a budget.
    reasoning_object: bool = False
    # The boolean parameter that turns reasoning on and off, beside `thinking_budget`.
    thinking_flag: str = ""

    # The keys of an answer's `additional_kwargs` that later requests repeat.
    replayed: tuple[str, ...] = ()
    # Later requests repeat the reasoning as a part of the content.
    replays_thinking: bool = False
    # It accepts Anthropic's cache marks in messages.
    cache_control: bool = False
    # The wires on which it accepts `prompt_cache_key`.
    prompt_cache_key_over: tuple[str, ...] = ()
    # The types of content blocks that it accepts and OpenAI does not.
    blocks: tuple[str, ...] = ()

    # These document the answers of the service. The decoder accepts the forms of all services.
    # The fields with the reasoning.
    reasoning_at: tuple[str, ...] = ()
    # The place of the usage in a stream.
    usage_at: str = "a last chunk of its own"
    # `[DONE]` ends a stream.
    sends_done: bool = True

    # Its names in other systems.
    names: Names = Names()
    # The class of its models as `module:class`. None: the class of the wire.
    model_class_at: str | None = None
    # It has OpenAI's embeddings API, `/embeddings` at its address.
    embeds: bool = False

    def speaks(self) -> tuple[str, ...]:
        """Return the names of the service's wires, Chat Completions first."""
        return (HOME_WIRE, *(wire for wire, _ in self.wires))

    def address(self, wire: str = HOME_WIRE) -> str:
        """Return the base URL of the service for a wire.

        Raises: `InvalidArgument` if it does not have the wire, or if no variable sets the account's `{place}`.
        """
        url = {HOME_WIRE: self.base_url, **dict(self.wires)}.get(wire)
        if url is None:
            raise InvalidArgument(
                f"`{self.name}` does not speak the wire `{wire}`, as far as we know, but "
                f"{', '.join(f'`{known}`' for known in self.speaks())}. If it does, set `base_url`. See {self.docs}."
            )
        if not self.place:
            return url
        place = from_environment(self.place)
        if place is None:
            raise InvalidArgument(
                f"The address of `{self.name}` depends on your account: set `{self.place[0]}` in the environment, or "
                f"pass `base_url=`. See {self.docs}."
            )
        return url.replace("{place}", place.rstrip("/"))

    def lacks_over(self, wire: str) -> tuple[str, ...]:
        """Return the parameters that the service is documented to reject or to ignore on a wire."""
        if wire == HOME_WIRE:
            return self.lacks
        return dict(self.lacks_at).get(wire, ())

    def needs_key(self, base_url: str | None) -> bool:
        """Return whether a call needs a key: at the service's address, but not at the caller's `base_url`.

        A service whose address is an account's needs a key at any address.
        """
        return not self.works_without_key and (base_url is None or bool(self.place))

    def auth_headers(self, key: str) -> dict[str, str]:
        """Return the header with the key: a bearer token on every wire, unless `key_header` is another header."""
        return {self.key_header: f"Bearer {key}" if self.key_header == "Authorization" else key}


# https://docs.ollama.com/modelfile, https://docs.ollama.com/context-length, https://docs.ollama.com/faq
_MODELFILE = "write `PARAMETER {} ...` into a Modelfile and `ollama create` a model of it"
_OLLAMA_INSTEAD = (
    (
        "num_ctx",
        _MODELFILE.format("num_ctx") + ", or set `OLLAMA_CONTEXT_LENGTH` where the server runs",
    ),
    ("keep_alive", "set `OLLAMA_KEEP_ALIVE` where the server runs"),
    (
        "options",
        "many have a parameter here (`temperature`, `top_p`, `max_tokens`, `stop`, `seed`); for the others "
        + _MODELFILE.format("min_p"),
    ),
    ("top_k", _MODELFILE.format("top_k")),
)
_OLLAMA_OWN = ("num_ctx", "keep_alive", "options")

_ROWS: Sequence[Service] = (
    # The endpoint of 2025-08 and later. With `api_version`, `AzureChatOpenAI` calls the older one. `model` is the name
    # of a deployment. The key may also be a token of Entra ID: `AzureChatOpenAI(azure_ad_token=...)`.
    Service(
        "azure_openai",
        "https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle",
        "{place}/openai/v1",
        ("AZURE_OPENAI_API_KEY",),
        aliases=("azure",),
        place=("AZURE_OPENAI_ENDPOINT",),
        wires=(("responses", "{place}/openai/v1"),),
        key_header="api-key",
        max_tokens_name="max_completion_tokens",
        names=Names(traces="azure.ai.openai", prices="azure", profiles="azure", also=("azure_ai",)),
        model_class_at="modelwire.adapters:AzureChatOpenAI",
    ),
    # While it waits it sends blank lines before the JSON, and comments in streams. A stream may repeat `finish_reason`.
    Service(
        "openrouter",
        "https://openrouter.ai/docs/quickstart",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        url_variables=("OPENROUTER_API_BASE",),
        wires=(
            ("responses", "https://openrouter.ai/api/v1"),
            ("anthropic", "https://openrouter.ai/api"),
        ),
        # Later requests must repeat them unchanged: https://openrouter.ai/docs/use-cases/reasoning-tokens
        replayed=("reasoning_details",),
        cache_control=True,
        reasoning_at=("reasoning", "reasoning_details"),
        usage_at="the last chunk",
        reasoning_object=True,
        # https://openrouter.ai/docs/api-reference/overview and .../parameters
        own="cache_control models provider route plugins preset transforms usage min_p top_a repetition_penalty",
        blocks=("video_url",),  # https://openrouter.ai/docs/features/multimodal/videos
        embeds=True,
    ),
    # It sends errors as `event: error` with status 200. Streams before 2025 have the usage in `x_groq` only.
    Service(
        "groq",
        "https://console.groq.com/docs/openai",
        "https://api.groq.com/openai/v1",
        ("GROQ_API_KEY",),
        wires=(("responses", "https://api.groq.com/openai/v1"),),
        max_tokens_name="max_completion_tokens",
        lacks=(*_LOGPROBS, "logit_bias"),  # It answers these with status 400.
        # https://console.groq.com/docs/api-reference#chat-create
        own="citation_options compound_custom disable_tool_validation documents exclude_domains include_domains "
        "include_reasoning reasoning_format search_settings",
        structured_by="function_calling",  # https://console.groq.com/docs/structured-outputs: some models only
        reasoning_at=("reasoning",),
        usage_at="the last chunk, or `x_groq`",
    ),
    # It answers a call with tools with status 400 if the `reasoning_content` of earlier turns is missing. Temperature
    # and penalties are accepted, but have no effect while it thinks:
    # https://api-docs.deepseek.com/guides/thinking_mode
    Service(
        "deepseek",
        "https://api-docs.deepseek.com/",
        "https://api.deepseek.com",
        ("DEEPSEEK_API_KEY",),
        models=("deepseek-",),
        url_variables=("DEEPSEEK_API_BASE",),
        wires=(
            ("responses", "https://api.deepseek.com"),
            ("anthropic", "https://api.deepseek.com/anthropic"),
        ),
        structured_by="function_calling",  # https://api-docs.deepseek.com/guides/json_mode
        replayed=("reasoning_content",),
        reasoning_at=("reasoning_content",),
        usage_at="the last chunk",
        reasoning_word="thinking",
        thinking_switch=True,  # https://api-docs.deepseek.com/guides/thinking_mode
    ),
    # It answers an unknown parameter with status 422. If the model thinks, the content is a list of parts. Tool calls
    # have no `type`.
    Service(
        "mistralai",
        "https://docs.mistral.ai/api/",
        "https://api.mistral.ai/v1",
        ("MISTRAL_API_KEY",),
        aliases=("mistral",),
        url_variables=("MISTRAL_BASE_URL",),
        models=(
            "mistral-",
            "magistral-",
            "ministral-",
            "codestral-",
            "devstral-",
            "pixtral-",
            "open-mi",
        ),
        takes_stream_options=False,
        renames=(("seed", "random_seed"),),
        lacks=(*_LOGPROBS, "logit_bias", "user", "store", "service_tier", "verbosity"),
        replays_thinking=True,
        reasoning_at=("content",),
        usage_at="the last chunk",
        # https://docs.mistral.ai/capabilities/document_ai/document_qna, and recorded
        blocks=("document_url",),
        names=Names(traces="mistral_ai", prices="mistral", profiles="mistral"),
        embeds=True,
    ),
    Service(
        "together",
        "https://docs.together.ai/docs/openai-api-compatibility",
        "https://api.together.xyz/v1",
        ("TOGETHER_API_KEY",),
        aliases=("together_ai", "togetherai"),
        takes_stream_options=False,
        reasoning_at=("reasoning",),
        usage_at="the last chunk",
        reasoning_word="reasoning",  # https://docs.together.ai/docs/reasoning-overview
        names=Names(profiles="togetherai"),
        embeds=True,
    ),
    Service(
        "fireworks",
        "https://docs.fireworks.ai/tools-sdks/openai-compatibility",
        "https://api.fireworks.ai/inference/v1",
        ("FIREWORKS_API_KEY",),
        url_variables=("FIREWORKS_API_BASE",),
        aliases=("fireworks_ai",),
        wires=(("anthropic", "https://api.fireworks.ai/inference"),),
        takes_stream_options=False,
        reasoning_at=("reasoning_content",),
        usage_at="the last chunk",
        names=Names(profiles="fireworks-ai"),
        embeds=True,
    ),
    # `openai_chat/families.py` lists the models that reject penalties, `stop` and `reasoning_effort`. Its Anthropic
    # wire is deprecated, and missing here.
    Service(
        "xai",
        "https://docs.x.ai/docs/api-reference",
        "https://api.x.ai/v1",
        ("XAI_API_KEY",),
        aliases=("grok",),
        models=("grok-",),
        wires=(("responses", "https://api.x.ai/v1"),),
        max_tokens_name="max_completion_tokens",
        reasoning_at=("reasoning_content",),
        # https://docs.x.ai/developers/advanced-api-usage/prompt-caching/maximizing-cache-hits
        prompt_cache_key_over=("responses",),
        names=Names(traces="x_ai", prices="x-ai"),
    ),
    # The end of Sonar's Chat Completions was announced for 2026-09-27. `wire="responses"` uses the Agent API.
    Service(
        "perplexity",
        "https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar",
        "https://api.perplexity.ai",
        ("PPLX_API_KEY", "PERPLEXITY_API_KEY"),
        models=("sonar",),
        wires=(("responses", "https://api.perplexity.ai/v1"),),
        takes_stream_options=False,
        usage_at="every chunk, a running total",
        sends_done=False,
        blocks=("file_url",),  # https://docs.perplexity.ai/guides/file-attachments, and recorded
    ),
    # It accepts the reasoning of earlier answers only as text of the content, which the model would take for its
    # answer, so later requests omit the reasoning: https://inference-docs.cerebras.ai/capabilities/reasoning
    Service(
        "cerebras",
        "https://inference-docs.cerebras.ai/resources/openai",
        "https://api.cerebras.ai/v1",
        ("CEREBRAS_API_KEY",),
        max_tokens_name="max_completion_tokens",
        lacks=(*_NO_PENALTIES, "logit_bias"),
        reasoning_at=("reasoning",),
    ),
    # The router forwards a call to one of many services. `model="org/name:provider"` selects one.
    Service(
        "huggingface",
        "https://huggingface.co/docs/inference-providers/index",
        "https://router.huggingface.co/v1",
        ("HF_TOKEN", "HUGGINGFACEHUB_API_TOKEN"),
        aliases=("hf",),
        wires=(("responses", "https://router.huggingface.co/v1"),),
        reasoning_at=("reasoning", "reasoning_content"),
    ),
    # Tool calls may have no id. Only the total token count includes thinking.
    Service(
        "google_openai",
        "https://ai.google.dev/gemini-api/docs/openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        # It answers these with status 400, "Unknown name" (recorded 2026-11). `init_chat_model("google_genai:...")`
        # accepts them.
        lacks=(
            *_NO_PENALTIES,
            *_LOGPROBS,
            "logit_bias",
            "seed",
            "top_k",
            "store",
            "user",
            "service_tier",
            "verbosity",
        ),
        names=Names(traces="gcp.gemini", profiles="google"),
        embeds=True,
    ),
    # It ignores parameters that are not on its list: https://docs.ollama.com/api/openai-compatibility. The key is for
    # `base_url="https://ollama.com/v1"`. The `reasoning` of a turn becomes the model's `thinking`: `FromChatRequest` in
    # https://github.com/ollama/ollama/blob/main/openai/openai.go
    Service(
        "ollama",
        "https://docs.ollama.com/api/openai-compatibility",
        "http://localhost:11434/v1",
        ("OLLAMA_API_KEY",),
        works_without_key=True,
        wires=(("responses", "http://localhost:11434/v1"), ("anthropic", "http://localhost:11434")),
        lacks=("logit_bias", "user", "n", "top_k", *_OLLAMA_OWN),
        lacks_at=(
            (
                "responses",
                (
                    "previous_response_id",
                    "conversation",
                    "truncation",
                    "top_k",
                    "user",
                    *_OLLAMA_OWN,
                ),
            ),
            # https://docs.ollama.com/api/anthropic-compatibility, and `MessagesRequest` in
            # https://github.com/ollama/ollama/blob/main/anthropic/anthropic.go
            (
                "anthropic",
                (
                    "tool_choice",
                    "response_format",
                    "output_format",
                    "metadata",
                    "user",
                    "service_tier",
                    "seed",
                    *_NO_PENALTIES,
                    "mcp_servers",
                    "context_management",
                    "container",
                    *_OLLAMA_OWN,
                ),
            ),
        ),
        instead=_OLLAMA_INSTEAD,
        replayed=("reasoning",),
        reasoning_at=("reasoning",),
        embeds=True,
    ),
    Service(
        "vllm",
        "https://docs.vllm.ai/en/stable/serving/online_serving/",
        "http://localhost:8000/v1",
        ("VLLM_API_KEY",),
        works_without_key=True,
        wires=(("responses", "http://localhost:8000/v1"), ("anthropic", "http://localhost:8000")),
        lacks=("user",),
        reasoning_at=("reasoning", "reasoning_content"),
        embeds=True,
    ),
    Service(
        "llamacpp",
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        "http://localhost:8080/v1",
        ("LLAMA_API_KEY",),
        aliases=("llama.cpp", "llama_cpp"),
        works_without_key=True,
        wires=(("responses", "http://localhost:8080/v1"), ("anthropic", "http://localhost:8080")),
        reasoning_at=("reasoning_content",),
        embeds=True,
    ),
    Service(
        "lmstudio",
        "https://lmstudio.ai/docs/developer/openai-compat",
        "http://localhost:1234/v1",
        ("LM_API_TOKEN",),
        aliases=("lm_studio",),
        works_without_key=True,
        wires=(("responses", "http://localhost:1234/v1"), ("anthropic", "http://localhost:1234")),
        reasoning_at=("reasoning", "reasoning_content"),
        embeds=True,
    ),
    Service(
        "litellm",
        "https://docs.litellm.ai/docs/proxy/user_keys",
        "http://localhost:4000",
        ("LITELLM_PROXY_API_KEY", "LITELLM_API_KEY"),
        aliases=("litellm_proxy",),
        url_variables=("LITELLM_PROXY_API_BASE", "LITELLM_API_BASE"),
        works_without_key=True,
        wires=(("responses", "http://localhost:4000/v1"), ("anthropic", "http://localhost:4000")),
        cache_control=True,
        reasoning_at=("reasoning_content",),
        own="*",  # https://docs.litellm.ai/docs/completion/provider_specific_params
        reasoning_word="thinking",  # https://docs.litellm.ai/docs/reasoning_content
        embeds=True,
    ),
    Service(
        "nvidia",
        "https://docs.api.nvidia.com/nim/reference/llm-apis",
        "https://integrate.api.nvidia.com/v1",
        ("NVIDIA_API_KEY",),
        aliases=("nim",),
        url_variables=("NVIDIA_BASE_URL",),
        reasoning_at=("reasoning_content",),
        embeds=True,
    ),
    # Later requests must repeat the `reasoning_content` beside tool calls:
    # https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model
    Service(
        "moonshot",
        "https://platform.kimi.ai/docs/api/overview",
        "https://api.moonshot.ai/v1",
        ("MOONSHOT_API_KEY",),
        aliases=("moonshotai", "kimi"),
        models=("kimi-", "moonshot-"),
        max_tokens_name="max_completion_tokens",
        wires=(
            ("responses", "https://api.moonshot.ai/v1"),
            ("anthropic", "https://api.moonshot.ai/anthropic"),
        ),
        replayed=("reasoning_content",),
        reasoning_at=("reasoning_content",),
        # https://platform.kimi.ai/docs/guide/use-thinking-effort
        reasoning_word="thinking",
        thinking_switch=True,
        names=Names(traces="moonshot_ai", prices="moonshotai", profiles="moonshotai"),
    ),
    # It accepts no `tool_choice` but "auto". With `thinking={"clear_thinking": False}` the thinking of earlier turns
    # stays.
    Service(
        "zai",
        "https://docs.z.ai/api-reference/llm/chat-completion",
        "https://api.z.ai/api/paas/v4",
        ("ZAI_API_KEY",),
        aliases=("z.ai", "z_ai"),
        models=("glm-",),
        wires=(("anthropic", "https://api.z.ai/api/anthropic"),),
        takes_stream_options=False,
        renames=(("user", "user_id"),),
        lacks=_NO_PENALTIES,
        structured_by="function_calling",
        replayed=("reasoning_content",),
        reasoning_at=("reasoning_content",),
        usage_at="the last chunk",
        # https://docs.z.ai/guides/capabilities/thinking-mode
        reasoning_word="thinking",
        thinking_switch=True,
        effort_levels=False,
    ),
    # `{place}` is the account's identifier, `ORGANIZATION-ACCOUNT`. The key is a programmatic access token. An answer
    # has all objects, most of them empty. Only its Claude models have Anthropic's wire.
    Service(
        "snowflake",
        "https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api",
        "https://{place}.snowflakecomputing.com/api/v2/cortex/v1",
        ("SNOWFLAKE_PAT", "SNOWFLAKE_TOKEN"),
        place=("SNOWFLAKE_ACCOUNT",),
        max_tokens_name="max_completion_tokens",
        wires=(("anthropic", "https://{place}.snowflakecomputing.com/api/v2/cortex"),),
        replayed=("reasoning_details",),
        reasoning_at=("reasoning_details",),
    ),
    # Bedrock's endpoints that are compatible with OpenAI's and Anthropic's: the runtime, which also has Converse
    # (`bedrock_converse`), and Mantle, which runs server-side tools and background calls. Both use Bedrock's key.
    Service(
        "bedrock_openai",
        "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html",
        "https://bedrock-runtime.{place}.amazonaws.com/openai/v1",
        ("AWS_BEARER_TOKEN_BEDROCK",),
        place=("AWS_REGION", "AWS_DEFAULT_REGION"),
        max_tokens_name="max_completion_tokens",
        wires=(
            ("responses", "https://bedrock-runtime.{place}.amazonaws.com/openai/v1"),
            ("anthropic", "https://bedrock-runtime.{place}.amazonaws.com/anthropic"),
        ),
        names=Names(traces="aws.bedrock", profiles="amazon-bedrock"),
    ),
    Service(
        "bedrock_mantle",
        "https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html",
        "https://bedrock-mantle.{place}.api.aws/v1",
        ("AWS_BEARER_TOKEN_BEDROCK",),
        place=("AWS_REGION", "AWS_DEFAULT_REGION"),
        max_tokens_name="max_completion_tokens",
        wires=(
            ("responses", "https://bedrock-mantle.{place}.api.aws/v1"),
            ("anthropic", "https://bedrock-mantle.{place}.api.aws/anthropic"),
        ),
        names=Names(traces="aws.bedrock", profiles="amazon-bedrock"),
    ),
    Service(
        "sambanova",
        "https://docs.sambanova.ai/docs/en/features/openai-compatibility",
        "https://api.sambanova.ai/v1",
        ("SAMBANOVA_API_KEY",),
        reasoning_at=("reasoning",),
        embeds=True,
    ),
    # The page lists supported and unsupported parameters. It rejects `stream_options`
    # (https://strandsagents.com/docs/user-guide/concepts/model-providers/cohere/). Its SDK reads CO_API_KEY.
    Service(
        "cohere",
        "https://docs.cohere.com/docs/compatibility-api",
        "https://api.cohere.ai/compatibility/v1",
        ("COHERE_API_KEY", "CO_API_KEY"),
        takes_stream_options=False,
        lacks=(
            "n",
            "top_logprobs",
            "logit_bias",
            "store",
            "metadata",
            "modalities",
            "prediction",
            "audio",
            "service_tier",
            "parallel_tool_calls",
        ),
    ),
    # The address of Singapore, which most keys are for. For Beijing and Virginia, callers set `base_url`. Messages:
    # https://www.alibabacloud.com/help/en/model-studio/anthropic-api-messages; Responses:
    # https://www.alibabacloud.com/help/en/model-studio/compatibility-with-openai-responses-api
    Service(
        "dashscope",
        "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
        aliases=("qwen", "alibaba"),
        wires=(
            (
                "responses",
                "https://dashscope-intl.aliyuncs.com/api/v2/apps/protocols/compatible-mode/v1",
            ),
            ("anthropic", "https://dashscope-intl.aliyuncs.com/apps/anthropic"),
        ),
        reasoning_at=("reasoning_content",),
        thinking_flag="enable_thinking",  # https://www.alibabacloud.com/help/en/model-studio/user-guide/qwq
        names=Names(profiles="alibaba"),
        embeds=True,
    ),
    # Thinking is in the content between `<think>` tags, or separate with `reasoning_split=True`. `max_tokens` is
    # deprecated. It ignores some parameters, which this page lists: https://java.agentscope.io/v2/en/integration/model/minimax
    Service(
        "minimax",
        "https://platform.minimax.io/docs/api-reference/text-openai-api",
        "https://api.minimax.io/v1",
        ("MINIMAX_API_KEY",),
        models=("MiniMax-",),
        wires=(
            ("responses", "https://api.minimax.io/v1"),
            ("anthropic", "https://api.minimax.io/anthropic"),
        ),
        max_tokens_name="max_completion_tokens",
        structured_by="function_calling",
        lacks=(*_NO_PENALTIES, "logit_bias", "seed", "parallel_tool_calls", "reasoning_effort"),
        reasoning_word="thinking",
        thinking_switch=True,
        replayed=("reasoning_details",),
        reasoning_at=("reasoning_details", "reasoning_content"),
    ),
    # A gateway to models of many companies, named `company/model`. Every deployment on Vercel has VERCEL_OIDC_TOKEN.
    Service(
        "vercel",
        "https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions",
        "https://ai-gateway.vercel.sh/v1",
        ("AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
        aliases=("vercel_ai_gateway",),
        wires=(
            ("responses", "https://ai-gateway.vercel.sh/v1"),
            ("anthropic", "https://ai-gateway.vercel.sh"),
        ),
        # https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions/advanced
        reasoning_object=True,
        own="models providerOptions",  # documented on the same page
        cache_control=True,  # https://vercel.com/docs/ai-gateway/models-and-providers/automatic-caching
        replayed=("reasoning_details",),
        reasoning_at=("reasoning", "reasoning_details"),
        embeds=True,
    ),
    # The key is a personal access token with the permission `models:read`. `lacks` are the parameters that the page
    # does not list.
    Service(
        "github",
        "https://docs.github.com/en/rest/models/inference",
        "https://models.github.ai/inference",
        ("GITHUB_TOKEN",),
        aliases=("github_models",),
        lacks=("n", *_LOGPROBS, "logit_bias", "user", "store", "service_tier", "verbosity"),
        names=Names(profiles="github-models"),
        embeds=True,
    ),
    # `{place}` is the address of the workspace, with `https://`. `model` is the name of an endpoint. OpenAI's models
    # have the Responses API: https://docs.databricks.com/aws/en/machine-learning/model-serving/query-openai-responses
    Service(
        "databricks",
        "https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference",
        "{place}/serving-endpoints",
        ("DATABRICKS_TOKEN",),
        place=("DATABRICKS_HOST",),
        wires=(("responses", "{place}/serving-endpoints"),),
        reasoning_at=("content",),
        embeds=True,
    ),
    # The model gateway. The key is a token of IBM Cloud's IAM, valid for an hour: `api_key` may be a function that
    # returns one. The variables are those of LangChain: https://reference.langchain.com/python/integrations/langchain_ibm
    Service(
        "watsonx",
        "https://www.ibm.com/docs/en/watsonx/saas?topic=generation-inferencing-gateway-models",
        "{place}/ml/gateway/v1",
        ("WATSONX_TOKEN",),
        place=("WATSONX_URL",),
        names=Names(traces="ibm.watsonx.ai"),
        embeds=True,
    ),
)

SERVICES: dict[str, Service] = {row.name: row for row in _ROWS}


@lru_cache(maxsize=256)
def service_of(name: str) -> Service | None:
    """Return the row of a service by its name or an alias, from this table or a plugin; None if it is unknown."""
    spelled = name.lower().replace("-", "_")
    ours = SERVICES.get(spelled) or next((row for row in _ROWS if spelled in row.aliases), None)
    if ours is None and isinstance(brought := plugins.plugin_of(spelled), Service):
        return brought
    return ours


def service_names() -> list[str]:
    """Return all names and aliases of the services in this table, without plugins."""
    return [name for row in _ROWS for name in (row.name, *row.aliases)]


def service_by_model(model: str) -> Service | None:
    """Return the service whose models have names such as `model`; None for a path such as `org/model`."""
    named = [row for row in _ROWS if model.startswith(row.models) and "/" not in model]
    return named[0] if named else None


def unknown_service(name: str) -> InvalidArgument:
    """Return the error for an unknown name of a service. It explains how to call a service that no table lists."""
    known = [*service_names(), *plugins.plugin_names()]
    return InvalidArgument(
        f"No service is called `{name}`. {did_you_mean(name, known)} For your own service, set `base_url` too."
    )
