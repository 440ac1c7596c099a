"""Wrong input by the million: see `tools/fuzz/__main__.py`."""
