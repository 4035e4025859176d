"""Model files: where they are on this machine, and (later) how they get here."""
