"""What an independent client does with the server, whichever it is: `Peer` is the process."""

from __future__ import annotations

import asyncio
import time

from tests.gateways.scada.live import LOW_R1, LOW_R2, Live, until
from tests.gateways.scada.peers import Peer

CONDITION = f"ns=2;s={LOW_R1}"
SHELVING = f"{CONDITION}/ShelvingState"
FLOW = "ns=2;s=R1.RackLiquidFlow"
TIMED, UNSHELVE = "i=9213", "i=9211"
"""AlarmConditionType's ShelvingState, TimedShelve and Unshelve."""


class Scenario:
    """`run` leaves the alarm of R1 standing."""

    def __init__(self, plant: Live, peer: Peer) -> None:
        self.plant, self.peer = plant, peer

    async def run(self) -> None:
        """Subscribe, refresh, acknowledge, confirm, comment, shelve, read history."""
        peer, plant = self.peer, self.plant
        begin_ms = round(time.time() * 1000) - 1000
        await plant.flow(60, "R2")
        await until(lambda: plant.state(LOW_R2) == "unacknowledged")
        subscription = await peer.ask("subscribe", "i=2915")
        assert await peer.ask("refresh", subscription) == "Good"
        await peer.events(LOW_R2, 1)
        await plant.flow(60)
        (raised,) = await peer.events(LOW_R1, 1)
        assert (raised["SourceName"], raised["ConditionName"], raised["Severity"]) == ("R1", "rack-low", 700)
        assert (raised["ActiveState.Id"], raised["AckedState.Id"], raised["Retain"]) == (True, False, True)
        assert await peer.ask("comment", CONDITION, raised["EventId"], "pump?") == "Good"
        assert await peer.ask("acknowledge", CONDITION, raised["EventId"], "seen") == "Good"
        acknowledged = (await peer.events(LOW_R1, 3))[2]
        assert (acknowledged["AckedState.Id"], acknowledged["ConfirmedState.Id"]) == (True, False)
        assert await peer.ask("confirm", CONDITION, acknowledged["EventId"], "pump swapped") == "Good"
        assert (await peer.events(LOW_R1, 4))[3]["ConfirmedState.Id"]
        again = await peer.ask("confirm", CONDITION, acknowledged["EventId"], "")
        assert again == "BadConditionBranchAlreadyConfirmed"
        again = await peer.ask("acknowledge", CONDITION, raised["EventId"], "seen")
        assert again == "BadConditionBranchAlreadyAcked"
        await plant.flow(100)
        await peer.events(LOW_R1, 5)
        await plant.flow(60)
        await peer.events(LOW_R1, 6)
        assert await peer.ask("acknowledge", CONDITION, raised["EventId"], "seen") == "BadEventIdUnknown"
        assert await peer.ask("call", SHELVING, TIMED, ["Double", 60_000]) == "Good"
        assert (await peer.events(LOW_R1, 7))[6]["SuppressedOrShelved"]
        assert await peer.ask("call", CONDITION, UNSHELVE) == "Good"
        assert not (await peer.events(LOW_R1, 8))[7]["SuppressedOrShelved"]
        await self.history(begin_ms)

    async def history(self, begin_ms: int) -> None:
        """Raw values in pages, and an average."""
        end_ms = round(time.time() * 1000) + 1000
        # readings and alarms come to the server on two ways
        for _ in range(2400):
            whole = await self.peer.ask("history", FLOW, begin_ms, end_ms, 0)
            if len(whole["values"]) == 3:
                break
            await asyncio.sleep(0.05)
        assert ([value for _, value in whole["values"]], whole["more"]) == ([60.0, 100.0, 60.0], False), whole
        page = await self.peer.ask("history", FLOW, begin_ms, end_ms, 2)
        assert ([value for _, value in page["values"]], page["more"]) == ([60.0, 100.0], True), page
        ((average, _),) = await self.peer.ask("average", FLOW, begin_ms, end_ms, end_ms - begin_ms)
        assert round(average, 3) == round(220 / 3, 3)
        assert await self.peer.ask("read", FLOW) == [60.0, "Good"]

    async def refused(self) -> None:
        """Who has no name sees, and can't act."""
        subscription = await self.peer.ask("subscribe", "i=2782")
        assert await self.peer.ask("refresh", subscription) == "Good"
        seen = (await self.peer.events(LOW_R1, 1))[0]
        refusal = "BadUserAccessDenied"
        assert await self.peer.ask("acknowledge", CONDITION, seen["EventId"], "") == refusal
        assert await self.peer.ask("call", SHELVING, TIMED, ["Double", 60_000]) == refusal
