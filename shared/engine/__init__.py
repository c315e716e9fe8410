"""Engines: what turns pages into text. Each is one module behind the protocol in `protocol.py`."""
