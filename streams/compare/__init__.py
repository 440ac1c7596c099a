"""Two answers to one recording compared: episodes, commands, and what rules are worth against known incidents."""
