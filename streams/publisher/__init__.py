"""From a gateway to the log: what was accepted is sent, or kept on disk until it can be."""
