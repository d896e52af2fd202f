"""How good predictions are: arrays → metrics. Nothing here reads files or draws."""
