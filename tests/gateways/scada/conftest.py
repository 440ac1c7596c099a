"""The standard's address space takes a second of a core to make: once for all tests of a process, and then copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua.server.address_space import AttributeValue, NodeData

from gateways.scada.server import Core


def _copied(nodes: dict[Any, Any]) -> dict[Any, Any]:
    copies = {}
    for key, node in nodes.items():
        made = copies[key] = NodeData(key)
        made.attributes = {name: AttributeValue(one.value) for name, one in node.attributes.items()}
        made.references = list(node.references)
    return copies


@pytest.fixture(scope="session", autouse=True)
def _standard_nodes() -> Iterator[None]:
    kept: dict[Any, Any] = {}
    load = Core.load_standard_address_space

    async def loaded(core: Any, shelf_file: Path | None = None) -> None:
        if not kept:
            await load(core, shelf_file)
            kept.update(core.aspace._nodes)
        core.aspace._nodes = _copied(kept)

    Core.load_standard_address_space = loaded
    yield
    Core.load_standard_address_space = load
