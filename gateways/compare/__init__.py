"""A comparison of two sides of a recording as words, tables, JSON and a page."""
