"""The map as a picture, a document and tables."""
