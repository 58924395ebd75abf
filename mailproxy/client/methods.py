"""Described calls as methods: one kind returns the result, the other is awaited."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, get_args, overload

from mailproxy.client.drivers import AsyncConnection, BlockingConnection
from mailproxy.client.exchange import Context, Steps

P = ParamSpec("P")
T = TypeVar("T")
C_co = TypeVar("C_co", covariant=True)


class Owner(Protocol[C_co]):
    """Whatever has calls as its methods."""

    @property
    def connection(self) -> C_co: ...


class Call(Generic[P, T]):
    """A call; as a method it shows the call's name, text and signature without the context."""

    def __init__(self, steps: Callable[Concatenate[Context, P], Steps[T]]) -> None:
        self.steps = steps
        described = inspect.signature(steps)
        _, *parameters = described.parameters.values()
        result = get_args(described.return_annotation)[-1]
        self.signature = described.replace(parameters=parameters, return_annotation=result)
        self.name = steps.__name__

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    def described(self, method: Any) -> Any:
        method.__name__ = method.__qualname__ = self.name
        method.__doc__ = self.steps.__doc__
        method.__signature__ = self.signature
        return method


class Blocking(Call[P, T]):
    @overload
    def __get__(self, owner: None, kind: type[object]) -> Self: ...
    @overload
    def __get__(self, owner: Owner[BlockingConnection], kind: type[object]) -> Callable[P, T]: ...
    def __get__(self, owner: Owner[BlockingConnection] | None, kind: type[object]) -> Self | Callable[P, T]:
        if owner is None:
            return self
        connection = owner.connection

        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return connection.run(self.steps(connection.context, *args, **kwargs))

        found: Callable[P, T] = self.described(method)
        return found


class Awaited(Call[P, T]):
    @overload
    def __get__(self, owner: None, kind: type[object]) -> Self: ...
    @overload
    def __get__(
        self, owner: Owner[AsyncConnection], kind: type[object]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(
        self, owner: Owner[AsyncConnection] | None, kind: type[object]
    ) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        if owner is None:
            return self
        connection = owner.connection

        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await connection.run(self.steps(connection.context, *args, **kwargs))

        found: Callable[P, Coroutine[Any, Any, T]] = self.described(method)
        return found
