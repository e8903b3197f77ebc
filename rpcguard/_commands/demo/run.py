"""One run of the demo, from the first process to the last."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rpcguard._commands.demo.board import Board
from rpcguard._commands.demo.canary import LANE, STORY, CanaryBook, canary_routing
from rpcguard._commands.demo.clients import Attempted, Caller, GuardedCaller, RoundRobinCaller
from rpcguard._commands.demo.load import steady_load
from rpcguard._commands.demo.options import SERVICE, DemoOptions
from rpcguard._commands.demo.providers import ProviderProcess, executed_posts, free_ports
from rpcguard._commands.demo.recording import LETTERS, CallRecord, DemoEvent, Recording
from rpcguard._commands.demo.registry import EmbeddedRegistry
from rpcguard._commands.demo.report import write_report
from rpcguard._commands.demo.script import WHAT, Script, Step
from rpcguard._commands.demo.summary import figures, summary
from rpcguard._commands.demo.view import LiveView, PlainView, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_DRAW_EVERY = 0.25
"""Seconds. Four pictures a second look alive and cost the clients nothing that shows."""
_LOOK_EVERY = 0.05
"""Seconds between looks at the list; shorter than any state that is to be drawn."""
_TEST_EVERY = 0.2
"""Seconds between marked calls: few beside the load, and enough to be counted."""
_COLD = 3.0
"""Seconds that a returning provider is slow for, as after a deploy."""


def run_demo(options: DemoOptions) -> int:
    """Run the demo and print its summary; return the exit status of the command.

    0: the promise was kept. 1: a call of rpcguard failed that could have been saved, a POST was
    executed twice, or a canary got another share than it should. Raises `KeyboardInterrupt` after
    Ctrl-C or SIGTERM; no process is left.
    """
    live = not options.plain and sys.stdout.isatty()
    with tempfile.TemporaryDirectory(prefix="rpcguard-demo-") as logs:
        demo = Demo(options, LiveView() if live else PlainView(), Path(logs))
        try:
            recording = asyncio.run(demo.run())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    print(f"\n{summary(recording)}")
    if options.lacks_a_side():
        print("\nhttpx-retries as a third side of this comparison: pip install httpx-retries")
    canary = demo.canary
    if canary is not None:
        print(f"\n{canary.table()}")
    if options.report is not None:
        write_report(recording, options.report)
        print(f"\nThe picture of this run: {options.report}")
    kept = figures(recording, "rpcguard").kept_the_promise
    return 0 if kept and (canary is None or canary.kept_the_promise) else 1


class Demo:
    """The parts of one run, held together."""

    def __init__(self, options: DemoOptions, view: View, logs: Path) -> None:
        self.options = options
        self.view = view
        self.script: Script = options.script()
        self.registry: EmbeddedRegistry = EmbeddedRegistry(SERVICE)
        names = [f"orders-{number + 1}" for number in range(options.providers)]
        ports = free_ports(len(names))
        self.canary: CanaryBook | None = CanaryBook(names[-1]) if options.lanes else None
        self.providers: list[ProviderProcess] = [
            ProviderProcess(
                *(name, port, logs / name), capacity=options.capacity, facts=self._facts(name)
            )
            for name, port in zip(names, ports, strict=True)
        ]
        self._cold, self._slow_start = self._times()
        story = STORY if options.lanes else ""
        self.recording: Recording = Recording(
            tuple(names), options.rate, self._cold, story, clients=options.clients()
        )
        self.board: Board = Board(names, self.recording.clients)
        self._began = time.monotonic()
        self._script_is_over = False

    def _facts(self, name: str) -> dict[str, object]:
        if not self.options.lanes:
            return {}
        if name == f"orders-{self.options.providers}":
            return {"version": "2", "metadata": {"lane": LANE}}
        return {"version": "1"}

    def _times(self) -> tuple[float, float]:
        """Give for how many seconds a returning provider is slow, and is called less."""
        plan, pace = self.options.plan, self.script.pace
        if plan is not None:
            return plan.rollout.cold * pace, plan.rollout.slow_start * pace
        cold = min(_COLD, _COLD * pace)
        return cold, 3 * cold

    def clock(self) -> float:
        """Give the seconds since the load began."""
        return time.monotonic() - self._began

    async def run(self) -> Recording:
        """Play the whole run; everything it started has ended when it returns or raises."""
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with self.registry:
            async with self._fleet():
                await self._play()
        self._count_posts()
        return self.recording

    @contextlib.asynccontextmanager
    async def _fleet(self) -> AsyncIterator[None]:
        print(f"starting {len(self.providers)} providers ...", flush=True)
        try:
            async with asyncio.TaskGroup() as starting:
                for provider in self.providers:
                    starting.create_task(provider.start(cold=0.0))
            for provider in self.providers:
                self.registry.put(provider.entry())
            yield
        finally:
            await asyncio.gather(*(provider.kill() for provider in self.providers))

    async def _play(self) -> None:
        routing = canary_routing(self.options.seconds) if self.canary else None
        guarded = GuardedCaller(self.registry.base, slow_start=self._slow_start, routing=routing)
        polled = [RoundRobinCaller(self.registry.url)]
        if "httpx-retries" in self.recording.clients:
            from rpcguard._commands.demo.retrying import RetryingCaller

            polled.append(RetryingCaller(self.registry.url))
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(guarded.aclose)
            for caller in polled:
                closing.push_async_callback(caller.aclose)
            await guarded.transport.wait_ready(SERVICE, timeout=10)
            for caller in polled:
                await caller.refresh()
                closing.callback(asyncio.create_task(caller.run()).cancel)
            self._began = time.monotonic()
            closing.enter_context(self.view)
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(self._look(guarded))
                tasks.create_task(self._follow_script())
                watching = [looking]
                if self.canary is not None:
                    watching.append(tasks.create_task(self._test(guarded, self.canary)))
                await self._load([guarded, *polled])
                for task in watching:
                    task.cancel()
            self.recording.seconds = self.clock()

    async def _load(self, callers: list[Caller]) -> None:
        await steady_load(
            callers,
            gap=self.options.gap,
            seed=self.options.seed,
            until=lambda: self._script_is_over and self.clock() >= self.options.seconds,
            clock=self.clock,
            sleep=asyncio.sleep,
            report=self._ended,
        )

    def _ended(self, call: CallRecord, attempts: tuple[Attempted, ...]) -> None:
        self.recording.calls.append(call)
        self.board.call(call, attempts)
        if self.canary is not None and call.client == "rpcguard":
            self.canary.ended(call, attempts[0].node if attempts else None)
        if call.client == "rpcguard" and call.error:
            kind = "could have been saved" if call.saveable else "may have been processed"
            self._tell(call.node or "-", "failed", f"a {call.method} failed: {call.error} ({kind})")

    async def _look(self, guarded: GuardedCaller) -> None:
        drawn = -_DRAW_EVERY
        while True:
            now = self.clock()
            for sighting in self.board.see(guarded.transport.nodes(SERVICE), now):
                self.recording.sightings.append(sighting)
                reason = f" ({sighting.reason})" if sighting.reason else ""
                self._tell(sighting.node, "state", f"is {sighting.state or 'not listed'}{reason}")
            if self.canary is not None:
                (route,) = guarded.transport.routes(SERVICE)
                told = self.canary.see(route, now)
                if told:
                    self._tell(self.providers[-1].name, "guard", told)
            if now - drawn >= _DRAW_EVERY:
                self.view.draw(self.board, now)
                drawn = now
            await asyncio.sleep(_LOOK_EVERY)

    async def _test(self, guarded: GuardedCaller, book: CanaryBook) -> None:
        # Testers of the new version: their calls are marked, whatever its share is.
        while True:
            book.tested(await guarded.test(LANE))
            await asyncio.sleep(_TEST_EVERY)

    async def _follow_script(self) -> None:
        for step in self.script.steps:
            await asyncio.sleep(step.pause)
            chosen = [self.providers[number] for number in step.providers]
            for provider in chosen:
                self._tell(provider.name, step.action, WHAT[step.action])
            await asyncio.gather(*(self._do(step, provider) for provider in chosen))
        await asyncio.sleep(self.script.tail)
        self._script_is_over = True

    async def _do(self, step: Step, provider: ProviderProcess) -> None:
        match step.action:
            case "leave":
                provider.leave()
            case "stop":
                await provider.stop()
            case "kill":
                await provider.kill()
            case "start":
                await provider.start(cold=self._cold)
            case "list":
                self.registry.put(provider.entry())
            case "forget":
                self.registry.remove(provider.name)
            case "freeze":
                provider.signal(signal.SIGSTOP)
            case "thaw":
                provider.signal(signal.SIGCONT)
            case "sick" | "falter" | "well":
                if step.action == "falter" and self.canary is not None:
                    self.canary.falters(self.clock())
                await provider.post(f"/-/demo/{step.action}")

    def _tell(self, node: str, kind: str, text: str) -> None:
        event = DemoEvent(self.clock(), node, kind, text)
        self.recording.events.append(event)
        self.board.event(event)
        self.view.event(event)

    def _count_posts(self) -> None:
        count = executed_posts(provider.log for provider in self.providers)
        twice = Counter(call[0] for call, times in count.items() if times > 1)
        for client in self.recording.clients:
            if twice[LETTERS[client]]:
                self.recording.executed_twice[client] = twice[LETTERS[client]]
