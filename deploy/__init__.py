"""What brings the services onto a machine: the command line, the supervisor, the fleet file."""
