"""From the topic `commands` to the devices, and the receipts back: OPC UA writes and NVML power limits."""
