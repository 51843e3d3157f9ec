"""map.yaml as written: its model, its lines, what is wrong with it. `sorbus.map` binds it to connectors."""
