"""Metrics and counts → matplotlib figures. Nothing here reads or writes files."""
