"""What machine this is, and what its processes use."""
