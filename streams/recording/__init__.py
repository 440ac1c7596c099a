"""The file format: reading, writing, checking, cutting, merging and exporting recordings."""
