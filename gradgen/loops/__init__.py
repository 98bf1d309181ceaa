"""Loops: the statement tree below the graph, what its kinds bind, read and write, and the laws that hold between passes."""
