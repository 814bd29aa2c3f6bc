"""Domain cards, the registry of adapter versions, their artifacts and their probes."""
