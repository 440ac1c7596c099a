"""Who may do what, and whether they are the ones who asked for it."""
