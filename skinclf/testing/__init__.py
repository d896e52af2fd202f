"""An archive of generated images, for demos and tests."""
