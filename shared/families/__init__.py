"""What families of models share, and the families that more than one service serves. Pure: knows
neither an engine nor a service."""
