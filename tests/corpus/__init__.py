"""Several hundred programs whose emitted functions are compared between two states of the source: see __main__.py."""
