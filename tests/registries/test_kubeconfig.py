"""A kubeconfig: which cluster, as whom, in which namespace, and what cannot be done."""

from __future__ import annotations

import base64
import json
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.kubernetes.access import Access
from rpcguard.registries.kubernetes.kubeconfig import (
    Kubeconfig,
    KubeconfigFile,
    kubeconfig_path,
)
from rpcguard.registries.kubernetes.registry import KubernetesRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

YAML = """\
apiVersion: v1
kind: Config
current-context: work
contexts:
- {name: work, context: {cluster: here, user: me, namespace: shop}}
- {name: other, context: {cluster: there, user: me}}
clusters:
- {name: here, cluster: {server: "http://10.0.0.1:8080/"}}
- {name: there, cluster: {server: "http://10.0.0.2:8080"}}
users:
- {name: me, user: {token: s3cret}}
"""


def document(*, cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    """Give a kubeconfig of one context; JSON is YAML, too."""
    return {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a kubeconfig of one context."""

    def write(**parts: Any) -> Path:
        file = tmp_path / "config"
        file.write_text(json.dumps(document(**parts)))
        return file

    return write


@pytest.fixture(autouse=True)
def _outside_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)


def test_the_current_context_and_another(tmp_path, monkeypatch):
    """Server, namespace and token are the context's; without a namespace it is `default`."""
    file = tmp_path / "config"
    file.write_text(YAML)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/nowhere:{file}")
    registry = registry_from_url("kubernetes:///")
    assert repr(registry) == "KubernetesRegistry('http://10.0.0.1:8080, namespace shop')"
    assert isinstance(registry, KubernetesRegistry)
    assert registry._headers() == {"Authorization": "Bearer s3cret"}
    other = registry_from_url(f"kubernetes:///?kubeconfig={file}&context=other")
    assert repr(other) == "KubernetesRegistry('http://10.0.0.2:8080, namespace default')"
    named = registry_from_url("kubernetes://billing?context=work")
    assert repr(named) == "KubernetesRegistry('http://10.0.0.1:8080, namespace billing')"


def test_secrets_are_not_shown(written):
    """Neither the file's content nor the token is in a `repr`."""
    file = KubeconfigFile(written(cluster={"server": "http://h"}, user={"token": "s3cret"}), None)
    access = Access((file.current().server,), token=file.token)
    assert "s3cret" not in f"{file!r} {file.current()!r} {access!r}"


def test_the_file_of_the_user(tmp_path, monkeypatch):
    """What is given comes first, then `KUBECONFIG`, then `~/.kube/config`, if it is there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kubeconfig_path(None) is None
    home = tmp_path / "home" / ".kube" / "config"
    home.parent.mkdir(parents=True)
    home.write_text(YAML)
    assert kubeconfig_path(None) == home
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert kubeconfig_path(None) is None
    assert kubeconfig_path("/x") is not None


def test_tls_by_files_and_by_data(tmp_path, written):
    """The CA and the client's certificate are taken from the file itself or from beside it."""
    authority = trustme.CA()
    pair = authority.issue_cert("me@example.org")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pair.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    names = {"certificate": "cert.pem", "key": "key.pem"}

    def data(name: str) -> str:
        return base64.b64encode((tmp_path / name).read_bytes()).decode()

    files = written(
        cluster={"server": "https://h:6443", "certificate-authority": "ca.pem"},
        user={f"client-{name}": file for name, file in names.items()} | {"tokenFile": "t"},
    )
    found = Kubeconfig.read(files, None)
    assert len(certificates(found)) == 1
    assert found.token_file == str(tmp_path / "t")
    inside = written(
        cluster={"server": "https://h", "certificate-authority-data": data("ca.pem")},
        user={f"client-{name}-data": data(file) for name, file in names.items()},
    )
    assert len(certificates(Kubeconfig.read(inside, None))) == 1


def certificates(found: Kubeconfig) -> list[Any]:
    """Give what the context trusts."""
    context = found.ssl_context()
    assert isinstance(context, ssl.SSLContext)
    return context.get_ca_certs()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"cluster": {}, "user": {}}, "has no server"),
        ({"cluster": {"server": "h:1"}, "user": {}}, "has no server"),
        ({"cluster": {"server": "http://h"}, "user": {"exec": {}}}, "run `kubectl proxy`"),
        ({"cluster": {"server": "http://h"}, "user": {"username": "a"}}, "logs in by 'username'"),
        (
            {"cluster": {"server": "https://h", "insecure-skip-tls-verify": True}, "user": {}},
            "insecure-skip-tls-verify",
        ),
        (
            {"cluster": {"server": "https://h", "certificate-authority": "no.pem"}, "user": {}},
            "No such file",
        ),
        (
            {"cluster": {"server": "https://h", "certificate-authority-data": "%"}, "user": {}},
            "base64",
        ),
        ({"cluster": {"server": "http://h"}, "user": []}, "user 'u' is no mapping"),
        ({"cluster": {"server": "http://"}, "user": {}}, "has no server such as"),
        ({"cluster": {"server": "https://me:s3cret@h"}, "user": {}}, "has no server such as"),
        ({"cluster": {"server": "http://h", "proxy-url": "http://p"}, "user": {}}, "proxy-url"),
        (
            {"cluster": {"server": "https://h", "tls-server-name": "x"}, "user": {}},
            "tls-server-name",
        ),
        ({"cluster": {"server": "http://h"}, "user": {"token": "s3cret\nx"}}, "its token is no"),
        ({"cluster": {"server": "http://h"}, "user": {"token": ["s3cret"]}}, "its token is no"),
        (
            {"cluster": {"server": "https://h"}, "user": {"client-key-data": "aGk="}},
            "client-certificate and client-key one is missing",
        ),
    ],
)
def test_what_cannot_be_done_is_told(written, parts, said):
    """The file and the reason are named, and where there is one the way out."""
    file = written(**parts)
    with pytest.raises(InvalidRegistryURL, match="kubeconfig") as raised:
        registry_from_url(f"kubernetes:///?kubeconfig={file}")
    assert said.lower() in str(raised.value).lower()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "it is no YAML"),
        ("a: !!int ''", "it is no YAML"),
        pytest.param("[" * 100_000, "it is nested too deeply", id="deep"),
        ("- a", "the file is no mapping"),
        ("{}", "no context is named"),
        ("current-context: a", "there is no context 'a'"),
        ("current-context: a\ncontexts: [1, {name: a, context: {}}]", "no cluster is named"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, said):
    """What is missing is named."""
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(InvalidRegistryURL, match=said):
        registry_from_url(f"kubernetes:///?kubeconfig={file}")


def test_without_the_extra(tmp_path, monkeypatch):
    """YAML needs a package; the error says which extra brings it, and JSON goes without."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "config"
    file.write_text(YAML)
    with pytest.raises(InvalidRegistryURL, match=r"pip install 'rpcguard\[kubernetes\]'"):
        registry_from_url(f"kubernetes:///?kubeconfig={file}")
    file.write_text(json.dumps(document(cluster={"server": "http://h"}, user={})))
    assert registry_from_url(f"kubernetes:///?kubeconfig={file}")


def test_a_token_that_was_renewed(written):
    """The next request has the token that stands in the file by then."""
    file = written(cluster={"server": "http://h"}, user={"token": "first"})
    registry = registry_from_url(f"kubernetes:///?kubeconfig={file}")
    assert isinstance(registry, KubernetesRegistry)
    assert registry._headers() == {"Authorization": "Bearer first"}
    written(cluster={"server": "http://h"}, user={"token": "the second"})
    assert registry._headers() == {"Authorization": "Bearer the second"}


@pytest.mark.parametrize("inside", [True, False])
def test_certificates_that_were_renewed(tmp_path, written, inside):
    """They are another value at once, and loaded: those in the file, and those beside it."""

    def renew() -> bytes:
        authority = trustme.CA()
        (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
        data = base64.b64encode(authority.cert_pem.bytes()).decode()
        name = "certificate-authority"
        named = {f"{name}-data": data} if inside else {name: "ca.pem"}
        written(cluster={"server": "https://h", **named}, user={})
        return ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())

    before = renew()
    file = KubeconfigFile(tmp_path / "config", None)
    stamp = file.stamp()
    assert file.context().get_ca_certs(binary_form=True) == [before]
    assert file.stamp() == stamp
    after = renew()
    assert file.stamp() != stamp
    assert file.context().get_ca_certs(binary_form=True) == [after]


def test_the_middle_of_a_renewal(tmp_path, written, caplog):
    """Half a file leaves the last one in use, with one warning; a pair by half is an error."""
    file = KubeconfigFile(written(cluster={"server": "https://h"}, user={"token": "t"}), None)
    (tmp_path / "config").write_text('{"current-context": ')
    assert [file.token() for _ in range(2)] == ["t", "t"]
    written(cluster={"server": "https://h"}, user={"token": ["no text"]})
    assert file.token() == "t"
    assert [record.message.count("the last one stays in use") for record in caplog.records] == [
        1,
        1,
    ]
    written(cluster={"server": "https://h"}, user={"client-key-data": "aGk="})
    with pytest.raises(RegistryError, match="one is missing"):
        file.context()
    written(cluster={"server": "http://h"}, user={})
    with pytest.raises(RegistryError, match="no TLS any more"):
        file.context()


@pytest.mark.timeout(120)
async def test_a_real_api_server(written, kubernetes_api):
    """A list comes from a kube-apiserver by its kubeconfig, with its CA and a token."""
    server = kubernetes_api
    authority = {"certificate-authority": str(server.ca_file)}
    file = written(cluster={"server": server.url} | authority, user={"token": server.token})
    registry = registry_from_url(f"kubernetes://{server.namespace}?kubeconfig={file}")
    assert isinstance(registry, KubernetesRegistry)
    try:
        assert not (await registry.fetch("orders")).known
    finally:
        await registry.aclose()
