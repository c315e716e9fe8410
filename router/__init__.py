"""The router: any dialect in, any model out. It imports `shared`, and never an engine."""
