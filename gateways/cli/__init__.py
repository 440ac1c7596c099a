"""The command line: the composition root. Commands import what they need when they run: help is fast."""
