"""A recording through the engine that ran it, and how what it says compares with what was said."""
