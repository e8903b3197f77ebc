"""The command line as a person runs it: what it prints and its exit status.

A process of its own where that is what a behaviour is about: signals, terminals, pipes, imports.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

import rpcguard
from rpcguard import cli

if TYPE_CHECKING:
    from collections.abc import Callable

TWO_NODES = "static://127.0.0.1:9001,127.0.0.1:9002"


def run(*arguments: str, module: str = "rpcguard", **options) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        **options,
    )


@pytest.fixture
def tell(capsys) -> Callable[..., Told]:
    """Run the command line in this process, which is many times quicker; give what it said."""

    def run_here(*arguments: str) -> Told:
        try:
            status = cli.main(list(arguments))
        except SystemExit as end:
            status = end.code
        return Told(status, *capsys.readouterr())

    return run_here


class Told(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def watching(*arguments: str):
    """Run `rpcguard nodes ... --watch` and end it by Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "rpcguard", "nodes", *arguments, "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def write_services(path, **services) -> str:
    """Replace the file in one step, as a deployment tool does, and give its registry URL."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"services": services}))
    os.replace(fresh, path)
    return f"file://{path}"


def test_the_version_is_told():
    """Both ways to start it give the version of the package."""
    for module in ("rpcguard", "rpcguard.cli"):
        told = run("--version", module=module)
        assert (told.returncode, told.stdout) == (0, f"rpcguard {rpcguard.__version__}\n")


def test_the_installed_command_is_there():
    """The package installs `rpcguard` beside the interpreter."""
    command = os.path.join(os.path.dirname(sys.executable), "rpcguard")
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"rpcguard {rpcguard.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--help"],
            [
                "demo",
                "check",
                "get",
                "nodes",
                "offline",
                "online",
                "--version",
                "exit status:",
                "completion",
            ],
        ),
        (
            ["demo", "--help"],
            ["--seconds", "--rate", "--providers", "--seed", "--plain", "--report", "exit status:"],
        ),
        (
            ["nodes", "--help"],
            [
                *("URL", "status+http://", "SERVICE", "--watch", "--json", "--call"),
                *("examples:", "rpcguard[demo]", "exit status:"),
            ],
        ),
        (
            ["offline", "--help"],
            ["--file", "--wait", "RPCGUARD_OFFLINE_FILE", "preStop", "exit status:"],
        ),
        (["online", "--help"], ["--file", "RPCGUARD_OFFLINE_FILE", "exit status:"]),
    ],
)
def test_help_names_every_option(arguments, words, tell):
    """What can be given is told, on standard output, with status 0."""
    told = tell(*arguments)
    assert told.returncode == 0
    assert all(word in told.stdout for word in words)
    assert "%" not in told.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["nodes"],
        ["demo", "--rate", "many"],
        ["demo", "--seconds", "0"],
        ["demo", "--rate", "-1"],
        ["demo", "--providers", "1"],
        ["demo", "--seconds", "nan"],
        ["demo", "--report", "/nowhere/at/all.html"],
        ["demo", "--report", "/"],
        ["nodes", TWO_NODES, "orders", "--call", "/"],
        ["nodes", TWO_NODES, "orders", "--watch", "--call", "health"],
        ["nodes", "status+http://127.0.0.1:9/", "orders", "--watch", "--call", "/"],
        ["nodes", "status+ftp://127.0.0.1:9/", "orders"],
        ["offline", "--wait", "-1"],
        ["offline", "--wait", "long"],
        ["offline", "--wait", "inf"],
        ["offline", "--file", ""],
        ["online", "--wait", "1"],
    ],
)
def test_wrong_usage_is_status_2(arguments, tell):
    """Nothing is started and the reason is on standard error."""
    told = tell(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Traceback" not in told.stderr
    assert told.stderr.strip()


def test_a_command_loads_only_what_it_needs():
    """To import the command line brings in neither the demo nor a server."""
    code = "import sys, rpcguard.cli; print(*(m for m in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"uvicorn", "rpcguard.demo", "rpcguard.provider"}
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (
            "rpcguard ",
            {
                "check",
                "config",
                "demo",
                "get",
                "nodes",
                "offline",
                "online",
                "plan-release",
                "routes",
            }
            | {"-h", "--help", "--version"},
        ),
        ("rpcguard nodes --w", {"--watch"}),
        ("rpcguard nodes zoo", {"zookeeper://", "zookeeper+tls://"}),
    ],
)
def test_the_shell_completes(line, offered, tmp_path):
    """Commands, options and the schemes of registries are offered."""
    pytest.importorskip("argcomplete")
    out = tmp_path / "offered"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    run(env=os.environ | asked)
    assert {word.strip() for word in out.read_text().split("\n")} == offered


def test_a_missing_extra_is_one_clear_line(monkeypatch, capsys):
    """Without uvicorn or rich the demo says what to install."""
    for missing, named in [({"uvicorn"}, "uvicorn"), ({"uvicorn", "rich"}, "uvicorn and rich")]:
        monkeypatch.setattr(
            cli.importlib.util, "find_spec", lambda name, m=missing: None if name in m else name
        )
        assert cli.main(["demo"]) == 1
        told = capsys.readouterr()
        assert told.err == f"rpcguard: the demo needs {named}: pip install 'rpcguard[demo]'\n"


def test_nodes_prints_aligned_text(tell):
    """Without a terminal: a head, a line per node, columns under each other."""
    told = tell("nodes", TWO_NODES, "orders")
    assert (told.returncode, told.stderr) == (0, "")
    head, *lines = told.stdout.splitlines()
    assert head.split() == [
        *("NODE", "ADDRESS", "STATE", "REASON", "WEIGHT", "IN-FLIGHT", "LOAD"),
        *("GOOD", "P50", "P99", "ZONE", "VERSION", "LAST-EVENT"),
    ]
    assert [line.split()[:3] for line in lines] == [
        [address, address, "available"] for address in ("127.0.0.1:9001", "127.0.0.1:9002")
    ]
    assert {line.index("available") for line in lines} == {head.index("STATE")}


@pytest.mark.parametrize("watch", [False, True])
def test_nodes_on_a_terminal_is_a_table(watch):
    """A terminal gets columns and colours, drawn once or kept up to date until Ctrl-C."""
    terminal, other_end = pty.openpty()
    command = [sys.executable, "-W", "error", "-m", "rpcguard", "nodes", TWO_NODES, "orders"]
    process = subprocess.Popen(
        [*command, "--watch"] if watch else command,
        stdout=other_end,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(other_end)
    with process:
        shown = b""
        while b"127.0.0.1:9002" not in shown:
            shown += os.read(terminal, 65536)
        if watch:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == (130 if watch else 0)
        assert process.stderr.read() == b""
    os.close(terminal)
    assert b"\x1b[32mavailable" in shown


def test_nodes_prints_json(tmp_path, tell):
    """A JSON array with everything that is known of each node."""
    node = {"id": "a", "host": "10.0.0.1", "port": 80, "zone": "east", "metadata": {"k": "v"}}
    url = write_services(tmp_path / "s.json", orders=[node])
    told = tell("nodes", url, "orders", "--json")
    (view,) = json.loads(told.stdout)
    assert {key: view["node"][key] for key in node} == node
    assert (view["state"], view["weight"], view["in_flight"]) == ("available", 1.0, 0)


def test_nodes_json_watch_prints_a_line_per_change(tmp_path):
    """The list at once, then one line when it changes, then Ctrl-C ends it quietly."""
    path = tmp_path / "s.json"
    one, two = ({"host": "10.0.0.1", "port": port} for port in (80, 81))
    url = write_services(path, orders=[one])
    with watching(url, "orders", "--json") as process:
        first = json.loads(process.stdout.readline())
        assert [view["node"]["port"] for view in first] == [80]
        write_services(path, orders=[one, two])
        second = json.loads(process.stdout.readline())
        assert [view["node"]["port"] for view in second] == [80, 81]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (130, "", "")


def test_nodes_watch_in_a_pipe_prints_a_line_per_change(tmp_path):
    """The table first, then what has changed, each with the time."""
    path = tmp_path / "s.json"
    one, two = ({"host": "10.0.0.1", "port": port, "id": str(port)} for port in (80, 81))
    url = write_services(path, orders=[one])
    with watching(url, "orders") as process:
        head, first = (process.stdout.readline() for _ in range(2))
        assert (head.split()[0], first.split()[:3]) == ("NODE", ["80", "10.0.0.1:80", "available"])
        write_services(path, orders=[one, two])
        at, name, news = process.stdout.readline().strip().split("  ", 2)
        assert (at.count(":"), name, news[:16]) == (2, "81", "joined the list:")
        write_services(path, orders=[one | {"status": "draining"}, two])
        news = process.stdout.readline().strip().split("  ", 1)[1]
        assert news == "80  available -> draining: drained by the registry"


def test_nodes_shows_what_a_running_program_sees(tmp_path):
    """The status page of a program is looked at, and its end is told while the watch goes on."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    running = subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with running:
        url = running.stdout.readline().strip()
        with watching(f"status+{url}", "orders", "--json") as process:
            (view,) = json.loads(process.stdout.readline())
            assert view["event"] == "offline: marked by the caller"
            running.kill()
            assert "does not answer" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130


PROGRAM = """
import socket, rpcguard, uvicorn
transport = rpcguard.Transport("static://10.0.0.1:80")
transport.wait_ready("orders", timeout=20)
transport.mark_offline("orders", "10.0.0.1:80")
listener = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
app = rpcguard.asgi_status(transport)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])
"""


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("status+http://127.0.0.1:9/", 1),
        ("10.0.0.1:80", 2),
        ("gopher://10.0.0.1:80", 2),
        ("static://10.0.0.1:notaport", 2),
        ("static:///billing=10.0.0.1:80", 1),
        ("file:///nowhere/at/all.json", 1),
    ],
)
def test_nodes_ends_with_one_line_when_there_is_no_list(url, status, tell):
    """A bad URL, an unknown service and a registry that is not there: no traceback, no table."""
    told = tell("nodes", url, "orders")
    assert (told.returncode, told.stdout) == (status, "")
    assert told.stderr.startswith("rpcguard: ")
    assert told.stderr.count("\n") == 1
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("service", "words"),
    [("orders", "lists no node of it"), ("order", "does not know this service")],
)
def test_nodes_tells_an_empty_service_from_an_unknown_one(service, words, tmp_path, tell):
    """A misspelled name and a service that nobody serves have different causes."""
    told = tell("nodes", write_services(tmp_path / "s.json", orders=[]), service)
    assert (told.returncode, told.stdout) == (1, "")
    assert words in told.stderr


def test_nodes_names_every_scheme_that_it_takes(tell):
    """Those of status pages are known beside those of registries, and are guessed like them."""
    told = tell("nodes", "status://127.0.0.1:9/", "orders")
    assert (told.returncode, told.stdout) == (2, "")
    assert all(scheme in told.stderr for scheme in ("consul,", "status+http,", "status+https,"))
    assert told.stderr.endswith("did you mean status+http://?\n")


def test_nodes_ends_when_the_registry_is_down(tell):
    """A registry that refuses connections is told within the time to wait for a first list."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = tell("nodes", f"http://user:secret@127.0.0.1:{port}/{{service}}", "orders")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.count("\n") == 1
    assert "orders" in told.stderr
    assert "secret" not in told.stderr


def test_a_reader_that_leaves_is_no_crash():
    """`rpcguard nodes ... | true` ends without a traceback."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "rpcguard", "nodes", TWO_NODES, "orders"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (1, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "http://orders/", "--registry", "static:///orders=127.0.0.1:1"),
        ("check", "static:///orders=127.0.0.1:1", "orders"),
        ("nodes", "static:///orders=127.0.0.1:1", "orders"),
    ],
)
def test_a_wrong_environment_is_one_clear_line(arguments, monkeypatch, capsys):
    """What a transport cannot be made of is told as wrong usage is, by every command."""
    monkeypatch.setenv("RPCGUARD_CONFIG", "/nosuch/rpcguard.toml")
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("rpcguard: config /nosuch/rpcguard.toml: cannot be read")
    assert said.count("\n") == 1


def test_a_closed_or_full_output_is_no_crash():
    """A script that wants the status alone closes it; a full disk is told in one line."""
    command = f"{sys.executable} -m rpcguard config"
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, timeout=50)
    assert (closed.returncode, closed.stderr) == (0, b"")
    full = subprocess.run(f"{command} >/dev/full", shell=True, capture_output=True, timeout=50)
    assert full.returncode == 1
    assert full.stderr == b"rpcguard: [Errno 28] No space left on device\n"


REGISTRY = "RPCGUARD_REGISTRY"
LISTED = "static:///orders=127.0.0.1:9"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nodes", "orders"),
        ("nodes", "", "orders"),
        ("routes", "orders"),
        ("plan-release", "orders", "--fast", "--load", "0.1"),
        ("check", "orders", "--timeout", "5"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
@pytest.mark.parametrize("named", ["environment", "file"])
def test_each_command_reads_the_environment(capsys, monkeypatch, tmp_path, arguments, named):
    """Who has set the registry once need not type it: one argument without a scheme is a name."""
    if named == "file":
        (tmp_path / "rpcguard.toml").write_text(f'registry = "{LISTED}"\n')
        monkeypatch.setenv("RPCGUARD_CONFIG", str(tmp_path / "rpcguard.toml"))
        monkeypatch.delenv(REGISTRY, raising=False)
    else:
        monkeypatch.setenv(REGISTRY, LISTED)
    cli.main(list(arguments))
    said = capsys.readouterr()
    assert said.err == ""
    assert "127.0.0.1:9" in said.out or "1 node" in said.out


@pytest.mark.parametrize("command", ["nodes", "routes", "plan-release", "check"])
def test_a_registry_that_nobody_names_is_told(capsys, monkeypatch, command):
    """In one line that names both ways."""
    monkeypatch.delenv(REGISTRY, raising=False)
    assert cli.main([command, "orders"]) == 2
    assert "pass a URL" in capsys.readouterr().err
    assert cli.main([command, "file:x.json", "orders"]) == 2
    assert "did you mean file:///" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["routes", "check"])
def test_a_service_that_nobody_names_is_told(capsys, monkeypatch, command):
    """Also where the registry is known."""
    monkeypatch.setenv(REGISTRY, LISTED)
    assert cli.main([command]) == 2
    assert capsys.readouterr().err == "rpcguard: name a service: URL SERVICE\n"
