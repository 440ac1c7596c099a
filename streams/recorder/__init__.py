"""The role that records a running site into segments, and what it keeps of them."""
