"""Pure rules of Headrace: no clock, no I/O, no environment, no randomness. Same input, same bytes out."""
