"""The engine: `step(inputs) -> outputs`, `snapshot()`, `restore()`. One per unit."""
