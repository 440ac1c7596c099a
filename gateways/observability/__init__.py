"""Metrics, health and logs of every role, for Prometheus, Kubernetes and people."""
