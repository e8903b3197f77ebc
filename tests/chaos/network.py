"""Loss, delay and silence on the loopback of a network namespace of the program's own.

Where the kernel has `netem`, it loses and delays. Where it has not, nftables lose packets and a
narrow link (`htb`) delays them. Without the right to make a namespace nothing of this is done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading

LOSS, DELAY, SILENCE = "loss", "delay", "silence"
_MARK = "RPCGUARD_CHAOS_NETWORK"
_UNSHARE = ("unshare --net", "unshare --net --map-root-user")
_WIDE, _NARROW = "10gbit", "160kbit"
_DELAY = "delay 40ms 20ms"


def enter_namespace() -> None:
    """Run this program anew in a namespace, where that is permitted; else return."""
    if _MARK in os.environ or not shutil.which("unshare"):
        return
    for command in _UNSHARE:
        if _works(f"{command} ip link set lo up"):
            os.environ[_MARK] = "1"
            os.execvp("unshare", [*command.split(), *sys.orig_argv])


class Network:
    """Hurt what goes to and comes from single loopback addresses.

    `able` holds what can be done here, `how` says by what means or why not.
    """

    def __init__(self) -> None:
        self.able: frozenset[str] = frozenset()
        self.how = "none: making a network namespace is not permitted here"
        self._lost: dict[str, float] = {}
        self._classes: dict[str, int] = {}
        self._netem = False
        self._changing = threading.Lock()
        if _MARK not in os.environ:
            return
        self.how = "none: this namespace lets neither tc nor nft do it"
        _works("ip link set lo up")
        if _works("tc qdisc add dev lo root netem"):
            _works("tc qdisc del dev lo root")
            self._netem = True
        links = _works("tc qdisc add dev lo root handle 1: htb default 1")
        links = links and self._link(1, _WIDE)
        rules = self._netem or self._change_rules()
        self.able = frozenset([*[DELAY] * links, *[LOSS, SILENCE] * rules])
        if self._netem:
            self.how = "tc netem"
        elif self.able:
            self.how = "nftables for loss and a narrow link (htb) for delay; no netem here"

    def lose(self, address: str, share: float) -> None:
        """Lose a share of the packets of an address, each way; 1 is silence, 0 heals."""
        if self._netem:
            self._bend(address, f"loss {share:.0%}")
            return
        with self._changing:
            self._lost[address] = share
            if not self._change_rules():
                raise RuntimeError("nft refused a rule")

    def delay(self, address: str) -> None:
        """Delay the packets of an address, each way."""
        if self._netem:
            self._bend(address, _DELAY)
        else:
            self._link(self._class_of(address), _NARROW)

    def heal(self, address: str) -> None:
        """Let everything through again."""
        if self._netem:
            self._bend(address, "")
            return
        if address in self._lost:
            self.lose(address, 0.0)
        if address in self._classes:
            self._link(self._class_of(address), _WIDE)

    def _change_rules(self) -> bool:
        rules = [
            f"add rule inet chaos lose ip {end} {address} {_some(share)} drop"
            for address, share in self._lost.items()
            if share
            for end in ("saddr", "daddr")
        ]
        begin = ["add table inet chaos"]
        begin += ["add chain inet chaos lose { type filter hook input priority 0; }"]
        text = "\n".join([*begin, "flush chain inet chaos lose", *rules, ""])
        return _works("nft -f -", text)

    def _bend(self, address: str, how: str) -> None:
        number = self._class_of(address)
        if not _works(f"tc qdisc replace dev lo parent 1:{number} netem {how}"):
            raise RuntimeError(f"tc refused netem {how}")

    def _class_of(self, address: str) -> int:
        number = self._classes.get(address)
        if number is None:
            number = self._classes[address] = len(self._classes) + 2
            self._link(number, _WIDE)
            for end in ("src", "dst"):
                match = f"u32 match ip {end} {address}/32 flowid 1:{number}"
                _works(f"tc filter add dev lo parent 1: protocol ip prio 1 {match}")
        return number

    def _link(self, number: int, rate: str) -> bool:
        shape = f"classid 1:{number} htb rate {rate} quantum 60000"
        return _works(f"tc class replace dev lo parent 1: {shape}")


def _some(share: float) -> str:
    return f"numgen random mod 1000 < {round(share * 1000)}" if share < 1.0 else ""


def _works(command: str, text: str = "") -> bool:
    words = command.split()
    if not shutil.which(words[0]):
        return False
    done = subprocess.run(words, input=text, text=True, capture_output=True, check=False)
    return done.returncode == 0
