"""map.yaml as it is written: its model, its lines, what is wrong with it. `sorbus.map` binds it to connectors."""
