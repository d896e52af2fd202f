"""How good answers are: arrays → numbers. Nothing here reads files or draws."""
