"""Random machines and random packets, in both worlds: every disagreement becomes a smallest scenario."""
