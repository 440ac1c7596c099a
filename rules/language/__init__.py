"""The rule language: YAML rule files in, a checked program out."""
