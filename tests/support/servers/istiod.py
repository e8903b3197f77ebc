"""Istio's control plane, beside a Kubernetes API server.

It takes half an hour of a busy machine to build, so it is not among the servers that are got
without being named: `python -m tests.support.servers get istiod`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.servers.base import free_ports
from tests.support.servers.built import BuiltServer
from tests.support.servers.kubernetes import Kubernetes

if TYPE_CHECKING:
    from pathlib import Path


class Istiod(BuiltServer):
    """Serve plain text on `port` and TLS on `secure_port`; `configure` sets YAML of Istio's kinds.

    `ca_file` is the authority that it makes for itself.
    """

    name = "istiod"
    source = "istiod-app"
    build = ("go", "build", "-mod=mod", "-p=1", "-trimpath", "-ldflags=-s -w", "-o=istiod", ".")
    product = "istiod"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.kubernetes = Kubernetes(directory / "kubernetes")
        self.port, self.secure_port, self._web, self._monitor, self._control = free_ports(5)
        self.ca_file = directory / "istio-ca.pem"
        self._configs = directory / "configs"
        self._configs.mkdir(exist_ok=True)

    @classmethod
    def available(cls) -> bool:
        return super().available() and Kubernetes.available()

    def command(self) -> list[str | Path]:
        (self.directory / "mesh.yaml").write_text("defaultConfig: {}\n")
        user = {"name": "u", "user": {"token": self.kubernetes.token}}
        place = {
            "server": self.kubernetes.url,
            "certificate-authority": str(self.kubernetes.ca_file),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": place}],
            "users": [user],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (self.directory / "kubeconfig").write_text(json.dumps(config))
        flags = {
            "registries": "Kubernetes",
            "kubeconfig": self.directory / "kubeconfig",
            "configDir": self._configs,
            "meshConfig": self.directory / "mesh.yaml",
            "networksConfig": self.directory / "none.yaml",
            "httpAddr": f"127.0.0.1:{self._web}",
            "httpsAddr": "",
            "grpcAddr": f"127.0.0.1:{self.port}",
            "secureGRPCAddr": f"127.0.0.1:{self.secure_port}",
            "monitoringAddr": f"127.0.0.1:{self._monitor}",
            "ctrlz_port": self._control,
        }
        return [self.file(), "discovery", *(f"--{name}={value}" for name, value in flags.items())]

    def answers(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self._web}/ready").status_code == 200

    def start(self) -> None:
        self.kubernetes.start()
        for name in ("istio-system", "shop"):
            self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        super().start()
        path = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret"
        with self.kubernetes.client() as client:
            secret = client.get(path).raise_for_status().json()
        self.ca_file.write_bytes(b64decode(secret["data"]["ca-cert.pem"]))

    def stop(self) -> None:
        super().stop()
        self.kubernetes.stop()

    def kill(self) -> None:
        super().kill()
        self.kubernetes.kill()

    def create(self, path: str, what: dict[str, Any]) -> dict[str, Any]:
        """Create an object of Kubernetes; one that is there stays."""
        with self.kubernetes.client() as client:
            answer = client.post(path, json=what)
            assert answer.status_code in (201, 409), answer.text
            found: dict[str, Any] = answer.json()
            return found

    def configure(self, name: str, *documents: dict[str, Any]) -> None:
        """Set some objects of Istio; those of the same name before are gone."""
        text = "\n---\n".join(json.dumps(one) for one in documents)  # JSON is YAML
        fresh = self.directory / f"{name}.part"
        fresh.write_text(text)
        fresh.rename(self._configs / f"{name}.yaml")

    def token(self, account: str, audience: str = "istio-ca") -> str:
        """Give a token of a service account of the namespace `shop`."""
        path = "/api/v1/namespaces/shop/serviceaccounts"
        self.create(path, {"metadata": {"name": account}})
        asked = {"spec": {"audiences": [audience]}}
        found: str = self.create(f"{path}/{account}/token", asked)["status"]["token"]
        return found


servers = ()
by_name = (Istiod,)
