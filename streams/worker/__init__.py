"""The role `worker`: partitions of `events` through the engines, and what they say onto the log."""
