"""Every edge of Headrace: field devices in, commands and people out, and the command line."""
