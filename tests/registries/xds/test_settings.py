"""URLs of xDS by gRPC, and gRPC's bootstrap file."""

from __future__ import annotations

import json

import pytest

from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.tls import TLSFiles
from rpcguard.registries.xds.ads import AdsRegistry
from rpcguard.registries.xds.settings import settings_of


@pytest.fixture
def bootstrap(monkeypatch):
    """Give a function that sets the bootstrap text."""
    monkeypatch.delenv("GRPC_XDS_BOOTSTRAP", raising=False)

    def use(document):
        text = document if isinstance(document, str) else json.dumps(document)
        monkeypatch.setenv("GRPC_XDS_BOOTSTRAP_CONFIG", text)

    return use


def test_url():
    """Addresses, how the caller is named, what is asked for."""
    found = settings_of(
        "xds://a,b:1?node=n&cluster=c&zone=z&region=r&resource=x-{service}&from=cluster&timeout=3"
    )
    assert [(plane.host, plane.port, plane.tls) for plane in found.planes] == [
        ("a", 15010, None),
        ("b", 1, None),
    ]
    assert found.node["id"] == "n"
    assert found.node["cluster"] == "c"
    assert found.node["locality"] == {"zone": "z", "region": "r"}
    assert (found.resource, found.start, found.patience) == ("x-{service}", "cluster", 3.0)


def test_url_with_tls():
    """Its own port, files, and a token that no repr shows."""
    found = settings_of("xds+tls://:s3cret@a?ca=/ca&cert=/c&key=/k&name=istiod")
    (plane,) = found.planes
    assert (plane.port, plane.name, plane.token) == (15012, "istiod", "s3cret")
    assert plane.tls == TLSFiles("/ca", "/c", "/k")
    assert "s3cret" not in repr(found)
    assert repr(AdsRegistry("xds+tls://:s3cret@a")) == "AdsRegistry('xds+tls://a:15012')"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("xds://a?resource=orders", "must have {service}"),
        ("xds://a?from=here", "'from' must be one of"),
        ("xds://a?token_file=/t", "token_file needs a URL with TLS"),
        ("xds+tls://:t@a?token_file=/t", "token_file as well"),
        ("xds://user:t@a", "there are no users"),
        ("xds://a/path", "there is no path"),
        ("xds+tls:///", "without an address the scheme is xds"),
        ("xds:///path", "there is no path"),
        ("xds://a?who=1", "unknown option"),
        ("xds://a?timeout=0", "above 0"),
    ],
)
def test_wrong_urls(url, reason):
    """Each names what is wrong, and shows a right one."""
    with pytest.raises(InvalidRegistryURL, match=reason):
        settings_of(url)


def test_istio_is_known_by_its_node_id():
    """What it wants of a client that is no proxy comes by itself, and yields to what is given."""
    node = settings_of("xds://a?node=sidecar~10.1.2.3~web-1.shop~shop.svc.cluster.local").node
    assert node["metadata"] == {
        "GENERATOR": "grpc",
        "NAMESPACE": "shop",
        "CLUSTER_ID": "Kubernetes",
        "INSTANCE_IPS": "10.1.2.3",
    }
    assert settings_of("xds://a?node=web-1").node["metadata"] == {}


def test_bootstrap(bootstrap):
    """The first kind of credentials that is understood counts; the URL's options come first."""
    jwt = {"type": "jwt_token_file", "config": {"jwt_token_file": "/token"}}
    tls = {"type": "tls", "config": {"ca_certificate_file": "/ca"}}
    bootstrap(
        {
            "xds_servers": [
                {"server_uri": "a:1", "channel_creds": [{"type": "google_default"}]},
                {
                    "server_uri": "dns:///b:2",
                    "channel_creds": [{"type": "google_default"}, tls],
                    "call_creds": [{"type": "other"}, jwt],
                },
                {"server_uri": "unix:///run/xds", "channel_creds": [{"type": "insecure"}]},
                {"server_uri": "[::1]:3", "channel_creds": [{"type": "insecure"}]},
            ],
            "node": {
                "id": "me",
                "cluster": "c",
                "metadata": {"a": 1},
                "locality": {"region": "r", "zone": "z", "sub_zone": ""},
            },
            "client_default_listener_resource_name_template": "l/%s",
            "unknown": 1,
        }
    )
    found = settings_of("xds:///?zone=other")
    told = [(one.host, one.port, one.path, one.tls, one.token_file) for one in found.planes]
    assert told == [
        ("b", 2, None, TLSFiles("/ca"), "/token"),
        ("localhost", 0, "/run/xds", None, None),
        ("::1", 3, None, None, None),
    ]
    assert found.node["id"] == "me"
    assert found.node["metadata"] == {"a": 1}
    assert found.node["locality"] == {"region": "r", "zone": "other"}
    assert found.resource == "l/{service}"
    assert settings_of("xds:///?resource={service}&node=you").resource == "{service}"


def test_the_file_comes_before_the_text(bootstrap, tmp_path, monkeypatch):
    """As gRPC has it."""
    bootstrap("{")
    server = {"server_uri": "a:1", "channel_creds": [{"type": "insecure"}]}
    (tmp_path / "file").write_text(json.dumps({"xds_servers": [server]}))
    monkeypatch.setenv("GRPC_XDS_BOOTSTRAP", str(tmp_path / "file"))
    assert settings_of("xds:///").planes[0].host == "a"
    monkeypatch.setenv("GRPC_XDS_BOOTSTRAP", str(tmp_path / "none"))
    with pytest.raises(InvalidRegistryURL, match="No such file"):
        settings_of("xds:///")


CREDS = [{"type": "insecure"}]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "has one"),
        ("[]", "no object"),
        ("{", "Expecting"),
        (" " * (1 << 20 | 1), "more than"),
        ({}, "no server in it can be used"),
        ({"xds_servers": 1}, "must be a list"),
        ({"xds_servers": [1]}, "a server is no object"),
        ({"xds_servers": [{"server_uri": "a/b", "channel_creds": CREDS}]}, "is no address"),
        ({"xds_servers": [{"server_uri": "a:b", "channel_creds": CREDS}]}, "not host:port"),
        ({"xds_servers": [{"server_uri": "a", "channel_creds": [1]}]}, "no server"),
        (
            {
                "xds_servers": [{"server_uri": "a", "channel_creds": CREDS}],
                "client_default_listener_resource_name_template": "x",
            },
            "must have",
        ),
    ],
)
def test_wrong_bootstraps(bootstrap, document, reason):
    """It is told that the file is at fault, and what is."""
    bootstrap(document)
    with pytest.raises(InvalidRegistryURL, match=reason):
        settings_of("xds:///")
