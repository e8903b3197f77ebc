"""Every parser of bytes from outside, with some thousand inputs and all that ever broke one."""

from __future__ import annotations

import logging
import time

import pytest

from tests.fuzz.draw import Draw, Template
from tests.fuzz.engine import CORPUS, Trial, kept, mutated
from tests.fuzz.stand import Broken, Plain, Stand, listen
from tests.fuzz.targets import TARGETS

INPUTS = 2000
PLAIN = ("headers", "retry-after", "urls", "options", "gzip", "lines", "http11")


@pytest.fixture(autouse=True)
def log():
    """Look at each line of the log, and put the logger back as it was."""
    logger = logging.getLogger("rpcguard")
    before = logger.level, logger.propagate
    handler = listen()
    yield handler
    logger.removeHandler(handler)
    logger.level, logger.propagate = before
    logger.manager._clear_cache()


@pytest.mark.parametrize("name", TARGETS)
def test_bad_input_does_no_harm(name):
    """Mutations of good answers raise nothing undocumented, slow no pick and pile nothing up."""
    inputs = mutated(name, seed=1)
    trial = Trial(name, INPUTS)
    for _ in range(INPUTS):
        data = next(inputs)
        try:
            trial.run(data)
        except Exception as error:
            error.add_note(f"the input is {data!r}")
            raise
    assert trial.done == INPUTS


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path.name) for name in TARGETS for path in sorted((CORPUS / name).glob("*"))],
)
def test_what_once_broke_a_parser_does_no_more(name, path):
    """Each kept input runs to its documented end."""
    Trial(name, 1).run((CORPUS / name / path).read_bytes())


def test_every_kept_input_has_a_target():
    """No case is lost because its target was renamed."""
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert sum(len(kept(name)) for name in TARGETS) >= 8


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in PLAIN])
def test_the_inputs_reach_the_list(name, monkeypatch):
    """Enough of the inputs get through a parser for the nodes behind it to be tried too."""
    taken = 0
    take = Stand.take

    def count(stand, snapshot):
        nonlocal taken
        taken += 1
        take(stand, snapshot)

    monkeypatch.setattr(Stand, "take", count)
    trial, inputs = Trial(name, 300), mutated(name, seed=2)
    for _ in range(300):
        trial.run(next(inputs))
    assert taken >= 90


def test_the_guards_can_fail(monkeypatch):
    """A slow input, a control character in the log and memory that grows are each noticed."""

    def spin(*_):
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    stand = Stand()
    monkeypatch.setattr("tests.fuzz.stand.LONGEST_INPUT", 0.02)
    with pytest.raises(Broken, match="took"):
        stand.timed(spin, b"")
    record = logging.LogRecord("rpcguard", 20, "", 0, "a\x1b[2J", None, None)
    with pytest.raises(Broken, match="the log has"):
        Plain().emit(record)
    stand.weigh(first=True)
    grown = [[number] for number in range(100_000)]
    with pytest.raises(Broken, match="memory has grown"):
        stand.weigh(first=False)
    assert grown


def test_an_input_of_zeros_is_the_good_document():
    """Bytes that decide nothing leave a document as it is, so that mutations begin from there."""
    document = {"a": [1, {"b": "c"}], "d": None}
    assert Template(document).bent(Draw(bytes(10))) == '{"a":[1,{"b":"c"}],"d":null}'
    assert Draw(bytes(10)).bent(document) == document
