"""Address translation: the first packet of a flow decides, and all others, answers and errors follow."""
