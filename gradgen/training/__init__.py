"""Training as a program: forward, backward and the update of an optimizer's recipe as one Graph, and what it keeps."""
