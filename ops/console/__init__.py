"""The console: what happens, and what people do about it, as web pages. `app.py` lists them."""
