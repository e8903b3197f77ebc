"""`rpcguard routes` says which rule matches a call and which nodes it would use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rpcguard import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NODES = [
    {"host": "10.0.0.1", "port": 80, "version": "1"},
    {"host": "10.0.0.2", "port": 80, "version": "1", "zone": "a"},
    {"host": "10.0.0.3", "port": 80, "id": "new", "version": "2", "metadata": {"lane": "c2"}},
]
RULES = [
    {"name": "testers", "when": {"header.x-tester": "*"}, "to": {"lane": "c2"}},
    {"name": "canary", "share": 0.05, "to": {"version": "2"}, "mark": "c2"},
]

Command = "Callable[..., tuple[int, str]]"


@pytest.fixture
def routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command on a list with rules beside it."""
    listed = tmp_path / "services.json"
    listed.write_text(json.dumps({"services": {"orders": NODES}, "routes": RULES}))

    def run(*arguments: str) -> tuple[int, str]:
        status = cli.main(["routes", listed.as_uri(), "orders", *arguments])
        return status, capsys.readouterr().out

    return run


def test_an_ordinary_call_meets_the_share_and_base(routes: Callable[..., tuple[int, str]]) -> None:
    """The share first, then what it leaves."""
    assert routes() == (
        0,
        "route canary: 5 % of such calls, marked c2, to canary\n"
        "  new  10.0.0.3:80  version 2\n"
        "no route: the calls that are left, to base\n"
        "  10.0.0.1:80  version 1\n"
        "  10.0.0.2:80  version 1  zone a\n",
    )


def test_a_call_is_described_by_options(routes: Callable[..., tuple[int, str]]) -> None:
    """Headers, a lane, a method and a path decide as they would in a call."""
    _, text = routes("--header", "X-Tester: alice")
    assert text.startswith("route testers: 100 % of such calls, to testers\n  new")
    _, text = routes("--lane", "c2")
    assert (
        text
        == "no route: the calls that are left, marked c2, to c2\n  new  10.0.0.3:80  version 2\n"
    )
    _, text = routes("--lane", "c9")
    assert "marked c9, to base, since its own cannot serve" in text


def test_rules_of_a_file_come_before_those_beside_the_list(
    routes: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """And where a call may use no node, the status says so."""
    file = tmp_path / "rules.toml"
    file.write_text('[[routes]]\nname = "r"\nto = {version = "9"}\notherwise = "fail"\n')
    assert routes("--rules", str(file)) == (1, "route r: 100 % of such calls, to none\n  no node\n")


def test_limits_of_a_route_are_shown(
    routes: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """As far as it has some."""
    file = tmp_path / "rules.toml"
    for said, shown in (
        ("timeout = 2", "2 s"),
        ("attempts = 1", "1 attempt"),
        ("timeout = 2.5\nattempt_timeout = 1\nattempts = 2", "2.5 s, 1 s an attempt, 2 attempts"),
    ):
        file.write_text(f'[[routes]]\nname = "r"\nto = {{lane = "c2"}}\n{said}\n')
        _, text = routes("--rules", str(file))
        assert text.splitlines()[0] == f"route r: 100 % of such calls, to r; at most {shown}"


def test_json_is_for_programs(routes: Callable[..., tuple[int, str]]) -> None:
    """The same, with names."""
    _, text = routes("--json", "--header", "x-tester: a")
    assert json.loads(text) == [
        {
            "route": "testers",
            "lane": None,
            "share": 1.0,
            "group": "testers",
            "fallback": None,
            "nodes": ["new"],
            "timeout": None,
            "attempt_timeout": None,
            "attempts": None,
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["routes", "static://10.0.0.1:80", "orders", "--header", "x"], 2),
        (["routes", "nowhere://10.0.0.1", "orders"], 2),
        (["routes", "static://10.0.0.1:80", "orders", "--rules", "/none.json"], 1),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with every command."""
    assert cli.main(arguments) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_a_lane_is_what_a_mark_can_be(routes: Callable[..., tuple[int, str]]) -> None:
    """A call with any other would not be in it, and `base` takes a mark off, as in a header."""
    assert routes("--lane", "a b") == (2, "")
    assert routes("--lane", "base") == routes("--lane", "") == routes()
