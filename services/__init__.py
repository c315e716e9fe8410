"""One folder per documented service: `app.py` wires it, `model.py` knows its model."""
