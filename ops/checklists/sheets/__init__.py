"""Manual sync: sheets that list what changed for the person who transfers it, their import, and the figures."""
