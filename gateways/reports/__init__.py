"""Reports as words, JSON and pages."""
