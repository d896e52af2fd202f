"""What images, classes, tables and rejects are."""
