"""Trouble of our own process: it is not the nodes' fault."""

from __future__ import annotations

from tests.support.programs import check_quiet, run_python

OUT_OF_DESCRIPTORS = """
    import anyio, os, resource, rpcguard, socket

    def use_up():
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            return taken

    def give_back(taken):
        for number in taken:
            os.close(number)

    def show(transport, error):
        (view,) = transport.nodes("orders")
        print(type(error).__name__, view.state, view.failures, view.in_flight)
"""


def test_out_of_descriptors(make_node):
    """Without a descriptor left a call fails, and the node is not ejected for it."""
    code = (
        OUT_OF_DESCRIPTORS
        + """
    transport = Transport(REGISTRY)
    client = http.Client(transport=transport, base_url="http://orders")
    client.get("/", headers={"Connection": "close"})  # imports what it needs
    taken = use_up()
    try:
        client.get("/")
    except http.ConnectError as error:
        show(transport, error)
    give_back(taken)
    print(client.get("/").text)
    client.close()
    """
    )
    check_quiet(run_python(code, make_node()), "ConnectError available 0 0\nok\n")


def test_out_of_descriptors_on_event_loops(make_node):
    """The same on asyncio and trio."""
    code = (
        OUT_OF_DESCRIPTORS
        + """
    async def main():
        transport = AsyncTransport(REGISTRY)
        client = http.AsyncClient(transport=transport, base_url="http://orders")
        await client.get("/", headers={"Connection": "close"})  # imports what it needs
        taken = use_up()
        try:
            await client.get("/")
        except http.ConnectError as error:
            show(transport, error)
        give_back(taken)
        print((await client.get("/")).text)
        await client.aclose()

    anyio.run(main, backend="asyncio")
    anyio.run(main, backend="trio")
    """
    )
    check_quiet(run_python(code, make_node()), "ConnectError available 0 0\nok\n" * 2)


OUT_OF_THREADS = """
    import anyio, rpcguard, threading

    named = REGISTRY + ",localhost:" + REGISTRY.rpartition(":")[2]
    start = threading.Thread.start

    def refused(_thread):
        raise RuntimeError("can't start new thread")

    def make(kind):
        return kind(named, balancer=rpcguard.RoundRobin)

    def show(transport, answers):
        print(*answers, *(view.failures for view in transport.nodes("orders")))
"""


def test_out_of_threads(make_node):
    """A node whose name needs a thread of its own is passed over for one that needs none."""
    code = (
        OUT_OF_THREADS
        + """
    transport = make(Transport)
    with http.Client(transport=transport, base_url="http://orders") as client:
        transport.wait_ready("orders", timeout=20)
        threading.Thread.start = refused
        show(transport, [client.post("/").text for _ in range(4)])
        threading.Thread.start = start
    """
    )
    check_quiet(run_python(code, make_node()), "ok ok ok ok 0 0\n")


def test_out_of_threads_on_event_loops(make_node):
    """The same on asyncio and trio."""
    code = (
        OUT_OF_THREADS
        + """
    async def main():
        transport = make(AsyncTransport)
        async with http.AsyncClient(transport=transport, base_url="http://orders") as client:
            await transport.wait_ready("orders", timeout=20)
            threading.Thread.start = refused
            show(transport, [(await client.post("/")).text for _ in range(4)])
            threading.Thread.start = start

    anyio.run(main, backend="asyncio")
    anyio.run(main, backend="trio")
    """
    )
    check_quiet(run_python(code, make_node()), "ok ok ok ok 0 0\n" * 2)


FIRST_CALL = """
    import anyio, rpcguard, threading

    start = threading.Thread.start

    def refused(_thread):
        raise RuntimeError("can't start new thread")

    def show(error):
        print(isinstance(error, rpcguard.RpcguardError), error)
"""
NO_THREAD = (
    "True the call was not sent: the thread that follows lists did not start: can't start new"
    " thread; the limits of threads and open files of this process want to be higher\n"
)


def test_out_of_threads_on_the_first_call(make_node):
    """Nothing follows a list then: an error of the library, and the next call may find a thread."""
    code = (
        FIRST_CALL
        + """
    with http.Client(transport=Transport(REGISTRY), base_url="http://orders") as client:
        threading.Thread.start = refused
        for _ in range(2):
            try:
                client.get("/")
            except http.ConnectError as error:
                show(error)
        threading.Thread.start = start
        print(client.get("/").text)
    """
    )
    check_quiet(run_python(code, make_node()), NO_THREAD * 2 + "ok\n")


def test_out_of_threads_on_the_first_call_of_event_loops(make_node):
    """The same in tasks."""
    code = (
        FIRST_CALL
        + """
    async def main():
        transport = AsyncTransport(REGISTRY)
        async with http.AsyncClient(transport=transport, base_url="http://orders") as client:
            threading.Thread.start = refused
            try:
                await client.get("/")
            except http.ConnectError as error:
                show(error)
            threading.Thread.start = start
            print((await client.get("/")).text)

    anyio.run(main, backend="asyncio")
    """
    )
    check_quiet(run_python(code, make_node()), NO_THREAD + "ok\n")
