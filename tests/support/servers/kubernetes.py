"""A Kubernetes API server, built from its modules, with an etcd below it.

Nothing else of a cluster runs: EndpointSlices are written by the tests, in place of the controller.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import trustme

from tests.support.servers.base import Server, cache, free_ports, run
from tests.support.servers.etcd import NewerEtcd

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "1.34.4"
ARGO = "github.com/argoproj/argo-rollouts@v1.8.3"
"""Its module has the definition of the kind, which an API server checks rollouts by."""
_MODULE = "k8s.io/kubernetes"
_MAIN = """\
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
"""


class Kubernetes(Server):
    """Serve HTTPS with a certificate of `ca_file`; `token_file` has the token of a user."""

    name = "kubernetes"
    namespace = "rpcguard"
    token = "r1ght-t0ken"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]
        self.ca_file = directory / "ca.pem"
        self.token_file = directory / "token"
        self.token_file.write_text(f"{self.token}\n")
        (directory / "users.csv").write_text(f"{self.token},user,1\n")
        authority = trustme.CA()
        mine = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.ca_file))
        mine.private_key_pem.write_to_path(str(directory / "key.pem"))
        mine.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
        self._etcd = NewerEtcd(directory / "etcd")

    @classmethod
    def get(cls) -> None:
        """Build it: about six minutes on one core, and 4 GB of memory."""
        NewerEtcd.get()
        if cls._binary().is_file():
            return
        work = cache(".kubernetes.part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / "main.go").write_text(_MAIN)
        (work / "go.mod").write_text(_go_mod(work))
        run(["go", "mod", "tidy", "-e"], cwd=work)
        build = ["go", "build", "-p", "1", "-trimpath", "-ldflags", "-s -w", "-o", "kube-apiserver"]
        run(["nice", "-n", "15", *build, "."], cwd=work)
        cls._binary().parent.mkdir(exist_ok=True)
        (work / "kube-apiserver").rename(cls._binary())
        shutil.rmtree(work)

    @classmethod
    def available(cls) -> bool:
        return NewerEtcd.available() and cls._binary().is_file()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """Give a client of the user, to be closed."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, verify=context, timeout=20.0)

    def command(self) -> Sequence[str | Path]:
        flags = {
            "etcd-servers": f"http://{self._etcd.address}",
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "cert-dir": self.directory,
            "tls-cert-file": "cert.pem",
            "tls-private-key-file": "key.pem",
            "token-auth-file": "users.csv",
            "anonymous-auth": "false",
            "authorization-mode": "AlwaysAllow",
            "disable-admission-plugins": "ServiceAccount",
            "service-account-issuer": "https://kubernetes.test",
            "service-account-key-file": "key.pem",
            "service-account-signing-key-file": "key.pem",
            "service-cluster-ip-range": "10.0.0.0/24",
            "endpoint-reconciler-type": "none",
            "shutdown-delay-duration": "0s",
        }
        return [self._binary(), *(f"--{name}={value}" for name, value in flags.items())]

    def answers(self) -> bool:
        with self.client() as client:
            if client.get("/readyz").status_code != 200:
                return False
            name = {"metadata": {"name": self.namespace}}
            return client.post("/api/v1/namespaces", json=name).status_code in (201, 409)

    def start(self) -> None:
        self._etcd.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self._etcd.stop()

    def kill(self) -> None:
        super().kill()
        self._etcd.kill()

    def forget(self) -> None:
        """Drop the history up to now, so that no watch can begin before."""
        with self.client() as client:
            revision = client.get("/api/v1/namespaces").json()["metadata"]["resourceVersion"]
        url = f"http://{self._etcd.address}/v3/kv/compaction"
        httpx.post(url, json={"revision": revision, "physical": True}).raise_for_status()
        super().kill()  # its cache still knows
        super().start()

    def wipe(self) -> None:
        super().wipe()
        self._etcd.wipe()

    @staticmethod
    def _binary() -> Path:
        return cache("kubernetes/kube-apiserver")


def _go_mod(work: Path) -> str:
    """Write a module file that replaces what the main repository keeps beside itself."""
    (work / "go.mod").write_text("module kubeapiserver\n")
    told = _downloaded(f"{_MODULE}@v{VERSION}", work)
    staged = re.findall(r"^\s*(k8s\.io/\S+) => \./staging", Path(told["GoMod"]).read_text(), re.M)
    beside = f"v0.{VERSION.removeprefix('1.')}"
    replaced = "".join(f"\t{module} => {module} {beside}\n" for module in staged)
    required = f"require {_MODULE} v{VERSION}"
    return f"module kubeapiserver\n\ngo 1.24.0\n\n{required}\n\nreplace (\n{replaced})\n"


def _downloaded(module: str, work: Path) -> dict[str, Any]:
    """Download a Go module; tell where its parts are."""
    command = ["go", "mod", "download", "-json", module]
    told: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=work))
    return told


class ArgoRollouts(Kubernetes):
    """An API server that knows the kind Rollout; no controller runs."""

    name = "argo-rollouts"
    rollouts = f"/apis/argoproj.io/v1alpha1/namespaces/{Kubernetes.namespace}/rollouts"

    @classmethod
    def get(cls) -> None:
        super().get()
        if cls._definition().is_file():
            return
        cls._definition().parent.mkdir(exist_ok=True)
        told = _downloaded(ARGO, cls._definition().parent)
        shutil.copyfile(Path(told["Dir"], "manifests/crds/rollout-crd.yaml"), cls._definition())

    @classmethod
    def available(cls) -> bool:
        return super().available() and cls._definition().is_file()

    def start(self) -> None:
        super().start()
        with self.client() as client:
            client.post(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                content=self._definition().read_bytes(),
                headers={"Content-Type": "application/yaml"},
            ).raise_for_status()
            self.wait(lambda: client.get(self.rollouts).status_code == 200)

    @staticmethod
    def _definition() -> Path:
        return cache("argo-rollouts/rollout-crd.yaml")


servers = (Kubernetes, ArgoRollouts)
