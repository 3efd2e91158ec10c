"""Rebuilds the catalogue's model files from published facts. For developers; not part of the package."""
