"""Connection tracking: which packets belong together, and what state their conversation is in."""
