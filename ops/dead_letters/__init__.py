"""Dead letters where home page, watch, digest and trace show them; dlq/ handles them."""
