"""Rule sets: out of folders, over the log, prepared aside and kept on disk."""
