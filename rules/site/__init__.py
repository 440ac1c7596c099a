"""The site file: what the plant is made of. `model` is its face, `parse` reads it."""
