"""The whole of Headrace in one process and one event loop, on virtual time, under seeded faults: `headrace sim`."""
