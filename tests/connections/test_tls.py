"""TLS names: what is asked for is what is verified, and never shared."""

from __future__ import annotations

import pytest


@pytest.fixture
def secure(make_node, make_caller, certified, trusting):
    def make(*names: str, **options):
        node = make_node(tls=certified(*names))
        return node, make_caller(node, scheme="https", ssl_context=trusting, **options)

    return make


async def test_the_logical_name_is_sent_and_verified(secure) -> None:
    """The TLS name is the service, though an IP address is dialled; the connection is kept."""
    node, caller = secure("orders")
    for _ in range(2):
        response = await caller.call("/")
    assert response.text == "ok"
    assert node.names == ["orders"]
    assert response.extensions["network_stream"].get_extra_info("ssl_object").version()
    assert caller.books == (1, 0, 0)


async def test_a_certificate_for_another_name_is_refused(
    secure, make_caller, flavour, trusting
) -> None:
    """A node that shows another service's certificate gets no request, as with httpx's own."""
    node, caller = secure("billing")
    with pytest.raises(flavour.http.ConnectError) as ours:
        await caller.call("/")
    own = make_caller(own=True, scheme="https", ssl_context=trusting)
    with pytest.raises(flavour.http.ConnectError) as theirs:
        await own.call(f"https://127.0.0.1:{node.port}/", extensions={"sni_hostname": "orders"})
    assert str(theirs.value) in str(ours.value)  # trio says nothing
    assert node.requests == []
    assert caller.books == (0, 0, 0)


async def test_the_callers_own_name_is_respected(secure) -> None:
    """`sni_hostname` of the request replaces the name, for SNI and for the check."""
    node, caller = secure("billing")
    response = await caller.call("/", extensions={"sni_hostname": "billing"})
    assert response.text == "ok"
    assert node.names == ["billing"]


async def test_two_names_never_share_a_connection(secure, flavour) -> None:
    """A connection verified for one name is never used for another, idle or not."""
    node, caller = secure("orders", "billing")
    for name in ("orders", "billing", "orders", "billing"):
        await caller.call(f"https://{name}/")
    assert node.names == ["orders", "billing"]
    assert [number for number, _ in node.requests] == [1, 2, 1, 2]
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("https://evil/")
    assert [number for number, _ in node.requests] == [1, 2, 1, 2]


async def test_another_name_takes_the_place_of_an_idle_one(secure, flavour) -> None:
    """At the limit an idle connection of another name makes room."""
    node, caller = secure("orders", "billing", limits=flavour.http.Limits(max_connections=1))
    for name in ("orders", "billing", "orders"):
        await caller.call(f"https://{name}/")
    assert node.names == ["orders", "billing", "orders"]
    assert caller.books == (1, 0, 0)


async def test_the_context_is_made_when_it_is_needed(
    make_node, make_caller, certified, trusting
) -> None:
    """A function that makes the context is asked by each connection, and by none before."""
    made = []

    def make():
        made.append(1)
        return trusting

    node = make_node(tls=certified("orders"))
    caller = make_caller(node, scheme="https", ssl_context=make)
    assert made == []
    responses = [await caller.open("/") for _ in range(2)]
    assert made == [1, 1]
    assert caller.books == (0, 2, 0)
    for response in responses:
        await caller.end(response)


async def test_a_handshake_that_hangs_times_out(
    make_node, make_caller, trusting, flavour, reached
) -> None:
    """A node that accepts and says nothing is a `ConnectTimeout`, and its socket is closed."""
    node = make_node(lambda peer: peer.until_gone())
    caller = make_caller(node, scheme="https", ssl_context=trusting, timeout=0.2)
    with pytest.raises(flavour.http.ConnectTimeout):
        await caller.call("/")
    await reached(lambda: node.peers and node.peers[0].gone.is_set())
    assert caller.books == (0, 0, 0)


async def test_plain_text_instead_of_a_handshake(make_node, make_caller, trusting, flavour) -> None:
    """A node that does not speak TLS is a `ConnectError`, as with httpx's transport."""

    def plain(peer) -> None:
        peer.recv()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    caller = make_caller(make_node(plain), scheme="https", ssl_context=trusting)
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("/")
    assert caller.books == (0, 0, 0)


async def test_tls_steps_are_traced(secure, flavour) -> None:
    """The trace callback sees the handshake with its name."""
    seen = []

    def note(event, info) -> None:
        seen.append((event, info.get("server_hostname")))

    async def anote(event, info) -> None:
        note(event, info)

    _, caller = secure("orders")
    await caller.call("/", extensions={"trace": note if flavour.sync else anote})
    assert ("connection.start_tls.started", "orders") in seen
    assert ("connection.start_tls.complete", None) in seen
