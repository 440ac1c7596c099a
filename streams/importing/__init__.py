"""Recorded data of others (CSV, TSV, Prometheus text) to a recording that replay reads."""
