"""Figures, measured on the machine at hand by real processes; each says which machine it was."""
