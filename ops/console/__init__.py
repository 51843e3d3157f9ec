"""The console: what goes on, and what people do about it, as web pages. `app.py` lists them."""
