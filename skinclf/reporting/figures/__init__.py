"""Numbers → matplotlib figures. Nothing here reads or writes files."""
