"""The settings: their schema, and how files and options make one."""
