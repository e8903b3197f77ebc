"""What makes the inputs: atheris, guided by coverage, or plain mutation of what is known."""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.stand import Stand, listen
from tests.fuzz.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 512


class Trial:
    """Run the inputs of one target, and say at the end what they cost."""

    def __init__(self, name: str, runs: int) -> None:
        self.name = name
        self.runs = runs
        self.done = 0
        self._target: Target = TARGETS[name]
        self._stand = Stand()
        self._begun = time.monotonic()
        self._weigh_every = max(runs // 5, 1)

    def run(self, data: bytes) -> None:
        """Run one input; raise whatever it breaks."""
        self._stand.timed(self._target.run, data)
        self.done += 1
        if self.done % self._weigh_every == 0:
            self._stand.weigh(first=self.done == self._weigh_every)

    def report(self) -> str:
        """Say what came of it, in a line."""
        stand, seconds = self._stand, time.monotonic() - self._begun
        return (
            f"{self.name}: {self.done} inputs in {seconds:.0f} s, no failure; slowest pick "
            f"{stand.slowest_pick * 1e3:.2f} ms, slowest input {stand.slowest_input * 1e3:.1f} ms, "
            f"memory grown by {stand.grown} blocks"
        )


def kept(name: str) -> list[bytes]:
    """Give the inputs that once broke a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def mutated(name: str, seed: int) -> Iterator[bytes]:
    """Give the seeds and the kept inputs of a target, then mutations of them without end."""
    target = TARGETS[name]
    rng = random.Random(f"{name} {seed}")
    words = [word.encode() for word in target.words]
    pool = [*target.seeds, *kept(name)]
    yield from pool
    while True:
        data = bytearray(rng.choice(pool))
        for _ in range(1 + int(rng.expovariate(0.3))):
            _mutate(data, rng, words)
        found = bytes(data[:LONGEST])
        if rng.random() < 0.02:
            pool.append(found)
            del pool[len(target.seeds) : -200]
        yield found


def _mutate(data: bytearray, rng: random.Random, words: list[bytes]) -> None:
    place = rng.randrange(len(data) + 1)
    kind = rng.randrange(5)
    if kind == 0 and words:
        data[place:place] = rng.choice(words)
    elif kind == 1:
        data[place:place] = rng.randbytes(rng.choice((1, 1, 2, 4, 16)))
    elif kind == 2:
        del data[place : place + rng.choice((1, 2, 8))]
    elif kind == 3 and place < len(data):
        data[place] ^= 1 << rng.randrange(8)
    elif place < len(data):
        data[place] = rng.randrange(256)


def run_mutations(name: str, runs: int, seed: int) -> str:
    """Run so many mutations; raise at the first that breaks anything, which is kept in a file."""
    handler, trial = listen(), Trial(name, runs)
    inputs = mutated(name, seed)
    try:
        for _ in range(runs):
            data = next(inputs)
            try:
                trial.run(data)
            except BaseException as error:
                error.add_note(f"the input is {data!r}, kept in {keep(name, data)}")
                raise
    finally:
        handler.close()
    return trial.report()


def keep(name: str, data: bytes) -> Path:
    """Write an input that broke something to a temporary file."""
    path = Path(tempfile.gettempdir()) / f"rpcguard-{name}-{hashlib.sha1(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def run_guided(
    name: str, runs: int, setup: Callable[..., object], fuzz: Callable[[], None]
) -> None:
    """Run so many inputs of atheris, which ends the process."""
    listen()
    trial = Trial(name, runs)

    def run(data: bytes) -> None:
        trial.run(data)
        if trial.done == runs:
            print(trial.report(), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate([*TARGETS[name].seeds, *kept(name)]):
            (corpus / f"{number:04}").write_bytes(data)
        words = Path(folder) / "words"
        words.write_text("".join(f"{_quoted(word)}\n" for word in TARGETS[name].words))
        options = [f"-runs={runs}", f"-max_len={LONGEST}", "-verbosity=0"]
        options += [f"-dict={words}"] * bool(TARGETS[name].words)  # it may not be empty
        artifacts = f"-artifact_prefix={tempfile.gettempdir()}/rpcguard-{name}-"
        setup(["fuzz", *options, "-timeout=20", "-rss_limit_mb=1500", artifacts, str(corpus)], run)
        fuzz()


def _quoted(word: str) -> str:
    plain = "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else f"\\x{b:02x}" for b in word.encode()
    )
    return f'"{plain}"'
