"""What a service asks of the outside: the order, and that no failure of one part costs another."""

from __future__ import annotations

import logging

import pytest

from tests.support.stage import REFUSED, Stage, ids


class Troubled(Stage):
    """A stage whose outside raises whenever something is told."""

    error: BaseException = OSError("disk full")
    order: list[str]

    def emit(self, event):
        self.order.append(event.kind)
        raise self.error

    def probe(self, service, live):
        self.order.append("probe")
        super().probe(service, live)

    def retire(self, live):
        self.order.append("retire")
        super().retire(live)


@pytest.fixture
def troubled() -> Troubled:
    """Give four nodes, and forget what their listing told."""
    stage = Troubled.__new__(Troubled)
    stage.order = []
    stage.__init__(*ids(4))
    stage.order.clear()
    return stage


def test_a_probe_starts_before_anybody_is_told(troubled, capsys):
    """Whatever the log raises, the node is probed, the call goes on and the fault is printed."""
    troubled.on("n0", REFUSED)
    assert troubled.order == ["probe", "ejected"]
    assert len(troubled.probing) == 1
    assert "disk full" in capsys.readouterr().err


def test_each_effect_is_done(troubled, monkeypatch):
    """One that raises keeps none of the others from being done, quietly where the user wants it."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    for _ in range(2):
        troubled.list("n3")
        troubled.on("n3", REFUSED)
        troubled.clock.advance(61)
        troubled.states()
    assert troubled.order.count("retire") == 3
    assert {"probe", "retire", "changed", "doubted", "ejected"} <= set(troubled.order)


def test_an_interrupt_is_raised_when_all_is_done(troubled):
    """Ctrl-C in a handler reaches the user, after the node is probed and everybody told."""
    troubled.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        troubled.on("n0", REFUSED)
    assert troubled.order == ["probe", "ejected"]
    assert troubled.states()["n0"] == "ejected"
