"""Certificates: what every system held of a data type at one moment, and that they agreed but for named records."""
