"""A crowded scenario in a process of its own: prints the trace hash, then the trace.

python -m tests.sim.determinism_probe SEED fifo|shuffled JUNK plain|ordered

JUNK seeds what lies on the heap beforehand, and with it the addresses of all that comes after.
"""

from __future__ import annotations

import sys
from random import Random

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tests.sim.loop import VirtualLoop, simulate

FAMILIES = 4
CROWD = 30
ROUNDS = 5


class Odd:
    """Small, of the kind that shares its pools with tasks, scopes and events."""

    __slots__ = ("__weakref__", "one", "two")


def litter(seed: int) -> list[object]:
    rng = Random(seed)
    heap: list[object] = []
    for _ in range(rng.randrange(5_000, 40_000)):
        kind = rng.randrange(3)
        heap.append(bytearray(rng.randrange(16, 700)) if kind == 0 else Odd() if kind == 1 else [None] * kind)
    return [thing for thing in heap if rng.random() < 0.5]  # the other half leaves holes


class Scenario:
    def __init__(self, rng: Random) -> None:
        self.rng = rng

    async def nap(self) -> None:
        await anyio.sleep(self.rng.choice((0.0, 0.001, 0.01, self.rng.random())))

    async def wait_for_ever(self, limiter: anyio.CapacityLimiter) -> None:
        """Cancelled with the crowd and slow to leave: who leaves first draws first and shapes the rest."""
        try:
            with anyio.CancelScope():
                async with limiter:
                    await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(self.rng.random()):
                await self.nap()

    async def take(self, inbox: MemoryObjectReceiveStream[int], outbox: MemoryObjectSendStream[int]) -> None:
        with inbox, outbox:
            while True:
                with anyio.move_on_after(self.rng.random()):
                    await outbox.send(await inbox.receive())
                await self.nap()

    async def wait_on_one_stream(self, stream: MemoryObjectReceiveStream[int]) -> None:
        try:
            await stream.receive()
        except anyio.ClosedResourceError:
            await self.nap()

    async def close_under_waiters(self) -> None:
        send, receive = anyio.create_memory_object_stream[int]()
        with send:
            async with anyio.create_task_group() as group:
                for _ in range(CROWD):
                    group.start_soon(self.wait_on_one_stream, receive)
                await anyio.sleep(0.5)
                receive.close()

    async def pipeline(self) -> None:
        into, inbox = anyio.create_memory_object_stream[int](2)
        outbox, out = anyio.create_memory_object_stream[int](2)
        with into, inbox, outbox, out, anyio.move_on_after(5.0):
            async with anyio.create_task_group() as group:
                for _ in range(CROWD // 3):
                    group.start_soon(self.take, inbox.clone(), outbox.clone())
                for number in range(CROWD):
                    await into.send(number)
                    if number % 3 == 0:
                        with anyio.move_on_after(0.3):
                            await out.receive()

    async def crowd(self, depth: int) -> None:
        limiter = anyio.CapacityLimiter(CROWD // 2)
        with anyio.move_on_after(1.0 + self.rng.random()):
            async with anyio.create_task_group() as group:
                for _ in range(CROWD):
                    group.start_soon(self.wait_for_ever, limiter)
                if depth:
                    group.start_soon(self.crowd, depth - 1)
                    group.start_soon(self.crowd, depth - 1)
                await anyio.sleep_forever()

    async def family(self) -> None:
        for _ in range(ROUNDS):
            async with anyio.create_task_group() as group:
                group.start_soon(self.crowd, 1)
                group.start_soon(self.pipeline)
                group.start_soon(self.close_under_waiters)

    async def main(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(FAMILIES):
                group.start_soon(self.family)


async def scenario() -> None:
    loop = anyio.lowlevel.current_token().native_token
    assert isinstance(loop, VirtualLoop)
    await Scenario(loop.random("scenario")).main()


def main(seed: str, mode: str, junk: str, sets: str) -> None:
    heap = litter(int(junk))
    result = simulate(scenario, seed=seed, mode=mode, keep_log=True, ordered=sets == "ordered")
    del heap
    print(result.trace_hash)
    for step in result.log or ():
        print(step.number, step.virtual_s, step.who)


if __name__ == "__main__":
    main(*sys.argv[1:])
