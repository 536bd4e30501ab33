"""The names that extensions and plugins may use besides the public names of modelwire.

Importing this module loads nothing: each name loads its module when it is first used.

Calls of models
    `CallObserver`: subclass it to observe calls: their start, attempts, waits, chunks and result.
    `observing`: a context in which an observer observes every call.
    `HTTPChatModel`: the base class of the models that are called over HTTP; `build_request` shows a request.
    `report_call`: reports a call that was made elsewhere, as in a batch, to callback handlers and observers.
    `cached_answer`: the answer that a model's cache has for a call, without making the call.
    `result_of`: the `ChatResult` of an answer, as callback handlers receive it.
    `final_of_row`: an answer of a batch, checked for a refusal and for a suspended turn.
    `as_v1`: an answer with standard content blocks as its content (`output_version="v1"`).
    `V1Stream`: converts the chunks of one stream to such content.
    `StructuredRetry`: the step that `with_structured_output(..., retries=n)` makes; `once` is the chain inside it.
    `JsonSchemaCheck`: validates values against a JSON schema.

What calls send
    `CONNECTION_HOOKS`: the hooks that receive every connection; append one to record, answer or refuse calls.
    `calling`: a context for a request of your own, which a test that closes the network refuses too.
    `exchange_limiters`: replaces the rate limiters of this process, and returns those that it had.
    `ConnectionWrapper`: the base class of the object that such a hook returns for a connection.

Why an answer ended
    `finish_reason_of`: why an answer ended, as the provider calls it.
    `CUT_REASONS`, `FILTERED_REASONS`: the reasons of answers that a limit cut short, and that a filter withheld.

How work runs
    `row_context`: a context for one row of a job: its observer, and calls that wait for limits without a time limit.
    `inner_context`: a context in which calls without a config inherit changed settings.
    `background_loop`: the event loop in a daemon thread, on which sync programs run many calls at a time.
    `close`, `aclose`: close nested iterators in order, so that a stream that is abandoned releases its connection.
    `affordable_in_flight`: how many calls may be in flight with the open files that the system allows.
    `divide_limits`: sets the share of a provider's limits that this process may use.
    `BudgetStore`: the base class of the stores in which named budgets keep their sums.

Wires
    `WIRES`, `wire_named`: the names of all wires, and the `Wire` of a name: its codec, path, model class, Batch API.
    `register_batch_api`: gives a wire the class that submits, polls and reads its batches.
    `Reply`, `Headers`: a response as codecs read it, and headers whose `repr` hides credentials.
    `SSEDecoder`: decodes server-sent events from bytes, which may be split anywhere.
    `error_of`: the error of `modelwire.errors` for an exception of an HTTP client.
    `usual_status`: the status that providers usually send for an error class.
    `address_of`, `shown_url`: the parts of a base URL, and a URL without its secrets.
    `trust_store`: the TLS context of the certificates that the environment names, for an HTTP client of your own.
    `hide_query`: a request hook of an HTTP client that keeps the query, which may hold a key, out of logs.

    `embeddings_codec`: the codec for rows of embeddings in a batch.
    `vectors_of`: the vectors of an answer of an embeddings API.
    `storable_answer`: such an answer with its vectors in a form that can be dumped.

Providers
    `PROVIDERS`, `provider_row`, `service_of`: the providers' rows by name, the row of one, and that of a service.
    `brought_names`: the names of the providers that installed plugins add.
    `credentials_of`, `provider_address`: where a provider's key and address come from in this program.
    `names_of`: a provider's names in price lists, model lists and traces.
    `model_classes`, `langchain_packages`, `service_names`: the models' classes with their modules, the LangChain
    packages that have these classes, and the names of the services.

Secrets
    `KEY_HEADERS`: the names of the headers that carry a key, in lower case.
    `mask_secrets`, `failure_text`: replaces keys in a text, and writes an error as one line without keys.
    `conceal`: removes the secrets of one call from its error.
    `Redactor`: masks the secrets of one call in the headers, bodies and texts that a file records about it.

Values
    `set_slots`: sets all fields of a pydantic object without validation.
    `extension`: the module of an extension by its name in `_extensions.py`, or an error if it is not installed.
    `lazy_exports`: makes the `__getattr__`, `__dir__` and `__all__` of a package whose names load when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.lazy import exports as lazy_exports

if TYPE_CHECKING:
    from modelwire._extensions import extension as extension
    from modelwire.adapters.credentials import KEY_HEADERS as KEY_HEADERS
    from modelwire.adapters.embeddings.codec import storable_answer as storable_answer
    from modelwire.adapters.embeddings.codec import vectors_of as vectors_of
    from modelwire.adapters.embeddings.openai import embeddings_codec as embeddings_codec
    from modelwire.adapters.model.cache import cached_answer as cached_answer
    from modelwire.adapters.model.http import HTTPChatModel as HTTPChatModel
    from modelwire.adapters.model.refusals import final_of_row as final_of_row
    from modelwire.adapters.model.results import result_of as result_of
    from modelwire.adapters.model.run import report_call as report_call
    from modelwire.adapters.providers.credential_lookup import credentials_of as credentials_of
    from modelwire.adapters.providers.credential_lookup import provider_address as provider_address
    from modelwire.adapters.providers.registry import PROVIDERS as PROVIDERS
    from modelwire.adapters.providers.registry import brought_names as brought_names
    from modelwire.adapters.providers.registry import langchain_packages as langchain_packages
    from modelwire.adapters.providers.registry import model_classes as model_classes
    from modelwire.adapters.providers.registry import names_of as names_of
    from modelwire.adapters.providers.registry import provider_row as provider_row
    from modelwire.adapters.providers.registry import service_names as service_names
    from modelwire.adapters.providers.services import service_of as service_of
    from modelwire.adapters.structured_retry import StructuredRetry as StructuredRetry
    from modelwire.adapters.wires.json import failure_text as failure_text
    from modelwire.adapters.wires.json import mask_secrets as mask_secrets
    from modelwire.adapters.wires.wire import WIRES as WIRES
    from modelwire.adapters.wires.wire import register_batch_api as register_batch_api
    from modelwire.adapters.wires.wire import wire_named as wire_named
    from modelwire.budgets.store import BudgetStore as BudgetStore
    from modelwire.messages.base import set_slots as set_slots
    from modelwire.messages.block_translators.v1 import V1Stream as V1Stream
    from modelwire.messages.block_translators.v1 import as_v1 as as_v1
    from modelwire.messages.finish_reasons import CUT_REASONS as CUT_REASONS
    from modelwire.messages.finish_reasons import FILTERED_REASONS as FILTERED_REASONS
    from modelwire.messages.finish_reasons import finish_reason_of as finish_reason_of
    from modelwire.runnables.background import background_loop as background_loop
    from modelwire.runnables.closing import aclose as aclose
    from modelwire.runnables.closing import close as close
    from modelwire.runnables.config import inner_context as inner_context
    from modelwire.runnables.config import row_context as row_context
    from modelwire.tools.schema_check import JsonSchemaCheck as JsonSchemaCheck
    from modelwire.transport.classify import usual_status as usual_status
    from modelwire.transport.connections.address import address_of as address_of
    from modelwire.transport.connections.address import hide_query as hide_query
    from modelwire.transport.connections.address import shown_url as shown_url
    from modelwire.transport.connections.closed_network import calling as calling
    from modelwire.transport.connections.hook import CONNECTION_HOOKS as CONNECTION_HOOKS
    from modelwire.transport.connections.hook import ConnectionWrapper as ConnectionWrapper
    from modelwire.transport.connections.pools import affordable_in_flight as affordable_in_flight
    from modelwire.transport.connections.pools import trust_store as trust_store
    from modelwire.transport.failures import error_of as error_of
    from modelwire.transport.observer import CallObserver as CallObserver
    from modelwire.transport.observer import observing as observing
    from modelwire.transport.ratelimit.registry import divide_limits as divide_limits
    from modelwire.transport.ratelimit.registry import exchange_limiters as exchange_limiters
    from modelwire.transport.redaction import Redactor as Redactor
    from modelwire.transport.redaction import conceal as conceal
    from modelwire.transport.sse import SSEDecoder as SSEDecoder
    from modelwire.transport.wire import Headers as Headers
    from modelwire.transport.wire import Reply as Reply

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "modelwire._extensions": "extension",
        "modelwire.adapters.credentials": "KEY_HEADERS",
        "modelwire.adapters.embeddings.codec": "storable_answer vectors_of",
        "modelwire.adapters.embeddings.openai": "embeddings_codec",
        "modelwire.adapters.model.cache": "cached_answer",
        "modelwire.adapters.model.http": "HTTPChatModel",
        "modelwire.adapters.model.refusals": "final_of_row",
        "modelwire.adapters.model.results": "result_of",
        "modelwire.adapters.model.run": "report_call",
        "modelwire.adapters.providers.credential_lookup": "credentials_of provider_address",
        "modelwire.adapters.providers.registry": [
            "PROVIDERS",
            "brought_names",
            "langchain_packages",
            "model_classes",
            "names_of",
            "provider_row",
            "service_names",
        ],
        "modelwire.adapters.providers.services": "service_of",
        "modelwire.adapters.structured_retry": "StructuredRetry",
        "modelwire.adapters.wires.json": "failure_text mask_secrets",
        "modelwire.adapters.wires.wire": "WIRES register_batch_api wire_named",
        "modelwire.budgets.store": "BudgetStore",
        "modelwire.messages.base": "set_slots",
        "modelwire.messages.block_translators.v1": "V1Stream as_v1",
        "modelwire.messages.finish_reasons": "CUT_REASONS FILTERED_REASONS finish_reason_of",
        "modelwire.runnables.background": "background_loop",
        "modelwire.runnables.closing": "aclose close",
        "modelwire.runnables.config": "inner_context row_context",
        "modelwire.tools.schema_check": "JsonSchemaCheck",
        "modelwire.transport.classify": "usual_status",
        "modelwire.transport.connections.address": "address_of hide_query shown_url",
        "modelwire.transport.connections.closed_network": "calling",
        "modelwire.transport.connections.hook": "CONNECTION_HOOKS ConnectionWrapper",
        "modelwire.transport.connections.pools": "affordable_in_flight trust_store",
        "modelwire.transport.failures": "error_of",
        "modelwire.transport.observer": "CallObserver observing",
        "modelwire.transport.ratelimit.registry": "divide_limits exchange_limiters",
        "modelwire.transport.redaction": "Redactor conceal",
        "modelwire.transport.sse": "SSEDecoder",
        "modelwire.transport.wire": "Headers Reply",
    },
)
__all__.append("lazy_exports")
