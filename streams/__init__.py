"""Kafka and time as data: topics, wire, bus, worker, snapshots, recording and replay."""
