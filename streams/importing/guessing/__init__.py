"""A first map file from the head of a file of others, for a person to check."""
