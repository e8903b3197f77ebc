"""Whether the next batch of a release may go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rpcguard import cli
from rpcguard._commands.nodes.readiness import objections, slowness
from rpcguard._commands.nodes.run import until_ready
from rpcguard.errors import RegistryError
from tests.support.rows import look, row

if TYPE_CHECKING:
    from rpcguard._commands.nodes.sources import Look

CALM = [row(f"n{number}", latencies=[0.01]) for number in range(4)]
SLOW = [row(f"n{number}", latencies=[0.025]) for number in range(4)]


def against(rows, batch: int, **more) -> list[str]:
    """Say what speaks against a batch, of a look at these rows."""
    return objections(look(*rows), batch, **more)


def test_a_quiet_list_lets_the_next_go():
    """All serve, none warms up, nothing was held back."""
    assert against(CALM, 1) == []
    assert against(CALM, 2, calm=0.010) == []


@pytest.mark.parametrize("state", ["warming", "offline", "ejected", "draining"])
def test_a_node_that_does_not_serve_in_full_is_waited_for(state):
    """The batch before has to be back and warm."""
    assert against([*CALM, row("late", state)], 1) == [f"late is {state}"]


def test_half_of_the_weight_has_to_serve():
    """Not of the nodes: a heavy one counts for what it is, and the heaviest may be the next."""
    assert against(CALM, 3) == ["only 25% of the weight would serve"]
    heavy = [*CALM, row("large", weight=10.0)]
    assert against(heavy, 1) == ["only 29% of the weight would serve"]
    assert against(CALM[:1], 1) == ["only 0% of the weight would serve"]


def test_what_was_not_enforced_speaks_against_it_for_a_minute():
    """A mark that the cap held back says that more are leaving than callers can do without."""
    told = "offline (not enforced): X-RpcGuard-Offline"
    fresh, old = row("a", event=told, event_age=5.0), row("a", event=told, event_age=90.0)
    assert against([*CALM, fresh], 1) == ["a signal or ejection of a was not enforced"]
    assert against([*CALM, old], 1) == []


def test_calls_that_are_slower_than_in_calm_speak_against_it():
    """The middle p99 of the nodes that serve is compared with that of the first look."""
    assert slowness(SLOW) == pytest.approx(0.025)
    assert against(SLOW, 1, calm=0.010) == ["p99 is 2.5 times that of calm"]
    assert against(SLOW, 1) == []
    assert slowness([row()]) is None


def test_nodes_that_have_left_the_list_are_out_as_well():
    """Registries drop what restarts: two of four that are listed and serve are half of them."""
    assert against(CALM[:2], 1) == []
    assert against(CALM[:2], 1, whole=4) == ["only 2 of 4 nodes are listed"]
    assert against(CALM, 1, whole=4) == []


def test_an_old_list_lets_nobody_go():
    """What a registry or a page does not tell any more may have changed since."""
    old = look(*CALM, trouble="no answer for 40 s")
    assert objections(old, 1) == ["the list may be old: no answer for 40 s"]


URL = "static:///orders=10.0.0.1:80,10.0.0.2:80,10.0.0.3:80"


def test_the_exit_status_is_for_pipelines(capsys):
    """0 where they may go, 1 and the reason where not."""
    assert cli.main(["nodes", URL, "orders", "--ready-for", "1"]) == 0
    assert "1 more may leave now" in capsys.readouterr().out
    assert cli.main(["nodes", URL, "orders", "--ready-for", "2"]) == 1
    assert "only 33% of the weight would serve" in capsys.readouterr().err


def test_a_watch_gives_up_after_its_timeout(capsys):
    """With --watch it waits for a better list, but no longer than it is told."""
    arguments = ["--ready-for", "3", "--watch", "--timeout", "0.05"]
    assert cli.main(["nodes", URL, "orders", *arguments]) == 1
    assert "3 more may not leave now" in capsys.readouterr().err


class Looks:
    """Give looks by a script; the last one repeats."""

    pause = 0.0

    def __init__(self, *looks: Look | Exception) -> None:
        self.looks = list(looks)

    async def look(self) -> Look:
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found


def test_a_watch_ends_when_the_list_is_ready():
    """It goes on looking, also where a look fails, and its first look is what calm means."""
    warming, slow = look(*CALM, row("late", "warming")), look(*SLOW)
    looks = Looks(warming, RegistryError("gone"), slow, look(*CALM))
    assert asyncio.run(until_ready(looks, 1, watch=True)) == []
    assert len(looks.looks) == 1


def test_a_pipeline_says_how_many_there_are(capsys):
    """`--of`: fewer on the list are as good as nodes that are out."""
    assert cli.main(["nodes", URL, "orders", "--ready-for", "1", "--of", "3"]) == 0
    assert cli.main(["nodes", URL, "orders", "--ready-for", "1", "--of", "5"]) == 1
    assert "only 3 of 5 nodes are listed" in capsys.readouterr().err
    assert cli.main(["nodes", URL, "orders", "--ready-for", "1", "--of=-1"]) == 2


@pytest.mark.parametrize("batch", ["0", "-1"])
def test_a_batch_has_nodes(batch, capsys):
    """Wrong usage is told in one line."""
    assert cli.main(["nodes", URL, "orders", f"--ready-for={batch}"]) == 2
    assert "1 or more" in capsys.readouterr().err
