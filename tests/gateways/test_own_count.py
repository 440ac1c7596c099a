"""What a role tells of itself ends whole, also when the role is told to end twice."""

from __future__ import annotations

import asyncio

from gateways import own_count


class Slow:
    """A publisher whose end takes some turns of the loop."""

    closed = False

    async def close(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.closed = True


async def test_an_end_that_is_cancelled_is_an_end_all_the_same() -> None:
    slow = Slow()
    task = asyncio.create_task(own_count._close(slow))  # type: ignore[arg-type]
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    assert slow.closed
