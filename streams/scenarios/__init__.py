"""Rule scenarios: what signals do over time, and what the rules must make of it. Run in event time, without a plant."""
