"""`RunnableBinding`: a runnable with arguments and config set in advance.

It has no run of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial, update_wrapper, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from modelwire.aliases import AsyncChunks, Function, Kwargs, Values
from modelwire.errors import warn_caller
from modelwire.runnables.base import Input, Output, Runnable
from modelwire.runnables.config import (
    Config,
    ConfigFactory,
    Configs,
    RunnableConfig,
    hidden,
    merge_configs,
    var_child_runnable_config,
)
from modelwire.runnables.forwarding import Call, Forwarding
from modelwire.runnables.invoke_function import accepted_kwargs, config_place

if TYPE_CHECKING:
    from typing import Self

    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema, StreamEvent

__all__ = ["RunnableBinding"]

# `with_structured_output` sets these parameters itself, so it drops bound values of them.
FORM = frozenset(("response_format", "tools", "tool_choice", "parallel_tool_calls"))


class RunnableBinding(Forwarding[Input, Output]):
    """Calls `bound` with `kwargs`, and with `config` as the default of each call's config.

    `config_factories` are functions of the merged config that return a config to merge over it.
    Attributes that a binding does not have are those of `bound`; its methods that take a `config`
    get the binding's.
    """

    _parts: ClassVar[tuple[str, ...]] = (
        "bound",
        "kwargs",
        "config",
        "config_factories",
        "custom_input_type",
        "custom_output_type",
    )

    def __init__(
        self,
        *,
        bound: Runnable[Input, Output],
        kwargs: Mapping[str, Any] | None = None,
        config: Config = None,
        config_factories: Sequence[ConfigFactory] | None = None,
        custom_input_type: Any = None,
        custom_output_type: Any = None,
    ) -> None:
        self.bound = bound
        self.kwargs: Values = dict(kwargs or {})
        self.config: RunnableConfig = merge_configs(config)
        self.config_factories = list(config_factories or ())
        self.custom_input_type = custom_input_type
        self.custom_output_type = custom_output_type
        self.name: str | None = None

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        return self.bound.get_name(suffix, name=name)

    @property
    def InputType(self) -> Any:
        if self.custom_input_type is not None:
            return self.custom_input_type
        return self.bound.InputType

    @property
    def OutputType(self) -> Any:
        if self.custom_output_type is not None:
            return self.custom_output_type
        return self.bound.OutputType

    def get_input_schema(self, config: Config = None) -> Schema:
        if self.custom_input_type is not None:
            return super().get_input_schema(config)
        return self.bound.get_input_schema(self._config(config))

    def get_output_schema(self, config: Config = None) -> Schema:
        if self.custom_output_type is not None:
            return super().get_output_schema(config)
        return self.bound.get_output_schema(self._config(config))

    def get_graph(self, config: Config = None) -> Graph:
        return self.bound.get_graph(self._config(config))

    def _runnables_inside(self) -> Iterable[Runnable]:
        return (self.bound,)

    def __repr__(self) -> str:
        shown = f"bound={self.bound!r}, kwargs={self.kwargs!r}, config={self.config!r}"
        return f"{type(self).__name__}({shown}, config_factories={self.config_factories!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "bound" not in self.__dict__:
            # While the object is copied or unpickled, `bound` is missing.
            raise AttributeError(name)
        value = getattr(self.bound, name)
        if name == "bind_tools":
            # The arguments that are already bound stay bound.
            return lambda *args, **kwargs: self._rebound(value(*args, **kwargs))
        if name == "with_structured_output":
            return update_wrapper(partial(self._bind_structured, value), value)
        if not callable(value) or not accepted_kwargs(value)[0]:
            return value

        place = config_place(value)

        @wraps(value)
        def configured(*args: Any, **kwargs: Any) -> Any:
            if place is not None and len(args) > place:
                config = self._config(args[place])
                args = (*args[:place], config, *args[place + 1 :])
            else:
                kwargs["config"] = self._config(kwargs.get("config"))
            if getattr(value, "takes_call_kwargs", False):
                kwargs = {**self.kwargs, **kwargs}
            return value(*args, **kwargs)

        return configured

    def _rebound(self, made: Any) -> RunnableBinding:
        """Return a copy of this binding around `made`, a runnable that a method of `bound` has returned.

        If `made` is a binding, its kwargs take precedence.
        """
        if not isinstance(made, RunnableBinding):
            return self._with(bound=made)
        has_config = made.config or made.config_factories
        is_plain = type(made) is RunnableBinding and not has_config
        inner = made.bound if is_plain else made._with(kwargs={})
        kwargs = {**self.kwargs, **made.kwargs}
        return self._with(bound=inner, kwargs=kwargs)

    def _bind_structured(self, method: Function, /, *args: Any, **kwargs: Any) -> Runnable:
        """Call `method`, the `with_structured_output` of `bound`, and return a copy of this binding around the result.

        Bound arguments that request another form of output are dropped, with a warning.
        """
        from modelwire.runnables.sequence import RunnableSequence

        if lost := [f"`{name}`" for name in self.kwargs if name in FORM]:
            warn_caller(
                f"`with_structured_output` drops the bound {', '.join(lost)}: it sets its own."
            )
        beside = {name: value for name, value in self.kwargs.items() if name not in FORM}
        if getattr(method, "takes_call_kwargs", False):  # Such a method chooses the request itself.
            kwargs, beside = {**beside, **kwargs}, {}
        made = method(*args, **kwargs)
        binding = self._with(kwargs=beside)
        if not isinstance(made, RunnableSequence):
            return binding._rebound(made)
        return RunnableSequence(binding._rebound(made.first), *made.steps[1:], name=made.name)

    def _config(self, config: Config) -> Config:
        if not self.config and not self.config_factories:
            return config
        merged = merge_configs(self.config, config)
        if self.config_factories and merged.get("callbacks") is None:
            # A factory adds handlers to the inherited ones, which a config with callbacks would
            # replace.
            inherited = var_child_runnable_config.get()
            if inherited is not None and inherited.get("callbacks") is not None:
                merged["callbacks"] = inherited["callbacks"]
        return merge_configs(merged, *(make(merged) for make in self.config_factories))

    def bind(self, **kwargs: Any) -> Self:
        return self._with(kwargs={**self.kwargs, **kwargs})

    def with_config(self, config: Config = None, **kwargs: Any) -> Self:
        """Return a binding with `config` (or its entries as keywords) merged over the config bound so far."""
        return self._with(config=merge_configs(self.config, config, cast("RunnableConfig", kwargs)))

    def _with(self, **changes: Any) -> Self:
        return type(self)(**{**self._state(), **changes})

    def with_types(self, *, input_type: Any = None, output_type: Any = None) -> RunnableBinding:
        own = self.custom_input_type, self.custom_output_type
        return self._with(
            custom_input_type=input_type or own[0], custom_output_type=output_type or own[1]
        )

    def with_retry(self, **options: Any) -> Self:
        """Return a runnable that retries `bound`.

        Handlers of this binding see all attempts as one run.
        """
        return self._with(bound=self.bound.with_retry(**options))

    def _listened(self, factory: ConfigFactory) -> Self:
        return self._with(config_factories=[*self.config_factories, factory])

    def _forwarded(self, input: Any, config: Config, kwargs: Kwargs) -> Call:
        return self.bound, input, self._config(config), {**self.kwargs, **hidden(kwargs)}

    def astream_events(
        self,
        input: Any,
        config: Config = None,
        *,
        version: Literal["v1", "v2"] = "v2",
        **kwargs: Any,
    ) -> AsyncIterator[StreamEvent]:
        return self.bound.astream_events(
            input, self._config(config), version=version, **{**self.kwargs, **kwargs}
        )

    def astream_log(
        self, input: Any, config: Config = None, *, diff: bool = True, **kwargs: Any
    ) -> AsyncChunks:
        return self.bound.astream_log(
            input, self._config(config), diff=diff, **{**self.kwargs, **kwargs}
        )

    def _batched_by(
        self, config: Configs, kwargs: Kwargs
    ) -> tuple[Runnable[Input, Output], Configs, Kwargs] | None:
        if self.config_factories:
            # A factory makes the config of one call, so each call goes through this binding.
            return None
        ready: Any = (
            [self._config(one) for one in config]
            if isinstance(config, Sequence)
            else self._config(config)
        )
        return self.bound, ready, {**self.kwargs, **kwargs}
