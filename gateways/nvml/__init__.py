"""GPU telemetry and power limits through NVML, and the simulated NVML host for machines without a GPU."""
