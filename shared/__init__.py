"""What every process of the fleet shares: the hub, errors, wires, engines and the service frame."""
