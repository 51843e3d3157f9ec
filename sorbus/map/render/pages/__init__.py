"""The map for people who run the office: a page per data type, as HTML that prints well and as Markdown."""
