"""The methods of a registry, which anybody may have written, and not always as they should be."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

_RIGHT: Final = {
    **dict.fromkeys(("fetch", "check", "routes", "services", "aclose"), "`async def`"),
    **dict.fromkeys(("watch", "pushed", "watch_routes"), "`async def` with `yield`"),
}
"""How each method is written."""


def own(registry: object, name: str) -> Any:
    """Give what a registry has of its own class, or set on itself, by a name; None for nothing.

    What `__getattr__` hands on to another object does not count, on any Python: a registry that
    wraps another one and changes its `fetch` would be watched past what it changes, and a mock, or
    what calls another process by any name, has everything.
    """
    if inspect.getattr_static(registry, name, None) is None:
        return None
    return getattr(registry, name, None)


def has(registry: object, *names: str) -> bool:
    """Tell whether a registry has methods of its own."""
    return all(callable(own(registry, name)) for name in names)


def misshapen(registry: object) -> str | None:
    """Say which method can never work as it is written; None where nothing tells.

    A plain function may return what an `async` one would. What a class has from a protocol that it
    names as its base is a declaration: `check` would say of each node that it is gone.
    """
    for name, right in _RIGHT.items():
        if not has(registry, name):
            continue
        if _is_declared(registry, name):
            return f"`{name}` of {_class(registry)} must be {right}: it is only declared"
        method = getattr(registry, name)
        yields = inspect.isasyncgenfunction(method)
        found = yields or inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method)
        if found and not (yields if "yield" in right else inspect.iscoroutinefunction(method)):
            return f"`{name}` of {_class(registry)} must be {right}"
    return None


def _is_declared(registry: object, name: str) -> bool:
    found = inspect.getattr_static(registry, name)
    return any(found is vars(one).get(name) for one in type(registry).__mro__ if _is_protocol(one))


def _is_protocol(kind: type) -> bool:
    # Those of others may be written out, to be inherited.
    return getattr(kind, "_is_protocol", False) and kind.__module__.startswith("rpcguard")


async def answer_of(registry: object, name: str, *args: object) -> Any:
    """Call a method and wait for what it gives; `TypeError` where that cannot be waited for."""
    answer = getattr(registry, name)(*args)
    if not inspect.isawaitable(answer):
        raise _wrong(registry, name, answer)
    return await answer


async def close(registry: object) -> None:
    """Close a registry; those without connections may have no `aclose`."""
    if has(registry, "aclose"):
        await answer_of(registry, "aclose")


def stream_of(registry: object, name: str, *args: object) -> AsyncIterable[Any]:
    """Call a method that pushes; `TypeError` where what it gives cannot be iterated so."""
    stream = getattr(registry, name)(*args)
    if not hasattr(stream, "__aiter__"):
        if inspect.iscoroutine(stream):
            stream.close()
        raise _wrong(registry, name, stream)
    return stream  # type: ignore[no-any-return]


def hint_for(registry: object, error: BaseException) -> str:
    """Say what an error of a registry most likely comes from; empty where nothing is known."""
    mine = isinstance(error, AttributeError) and error.obj is registry
    bases = (one for one in type(registry).__mro__[1:-1] if not getattr(one, "_is_protocol", False))
    if mine and any("__init__" in vars(one) for one in bases):
        return "; does its __init__ call super().__init__()?"
    return ""


def _wrong(registry: object, name: str, answer: object) -> TypeError:
    given = type(answer).__name__
    return TypeError(f"`{name}` of {_class(registry)} must be {_RIGHT[name]}: it gave a {given}")


def _class(registry: object) -> str:
    return type(registry).__name__
