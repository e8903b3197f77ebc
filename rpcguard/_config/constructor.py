"""What happens to the options of a transport before it is made of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from rpcguard._config.options import check
from rpcguard._config.settings import Settings, found_file
from rpcguard._core.policies.overrides import PoliciesByService

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._connections.library import Library

P = ParamSpec("P")


class Configured:
    """What is made of options in code, and of those in a configuration file."""

    _settings: Settings

    @property
    def _library(self) -> Library:
        raise NotImplementedError


def configured(make: Callable[P, None]) -> Callable[P, None]:
    """Check the options of a constructor, and put those of its file beneath them.

    They are those that it takes by keyword; what is wrong is told as `options.check` does.
    """
    defaults = {"registry": None, **(make.__kwdefaults__ or {})}

    @functools.wraps(make)
    def made(*args: P.args, **given: P.kwargs) -> None:
        transport, *positional = args
        assert isinstance(transport, Configured)
        code: dict[str, Any] = {**dict(zip(("registry",), positional, strict=False)), **given}
        check(code, defaults, type(transport).__name__)
        file = found_file(code.get("config"), transport._library.http.Limits)
        PoliciesByService({}, code.get("services"))  # what is wrong with it is told here
        settings = Settings(defaults, code, file, file.read() if file is not None else None)
        transport._settings = settings
        cast("Any", make)(transport, *positional[1:], **settings.options())

    return made
