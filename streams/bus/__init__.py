"""What Headrace needs of a log: the interface, Kafka's protocol, memory."""
