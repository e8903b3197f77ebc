"""What happens to the options of a transport before it is made of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec

from rpcguard._config.options import check

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


def checked(make: Callable[P, None]) -> Callable[P, None]:
    """Check the options of a constructor before it does anything with them.

    They are those that it takes by keyword; what is wrong is told as `options.check` does.
    """
    known = ("registry", *(make.__kwdefaults__ or {}))

    @functools.wraps(make)
    def made(*args: P.args, **options: P.kwargs) -> None:
        check(options, known, type(args[0]).__name__)
        make(*args, **options)

    return made
