"""The journal as evidence: its heads, what verifies its chain, and copies of it."""
