"""The simulated plant: physics, PLC, faults, sensors and an OPC UA server, in a process of its own."""
