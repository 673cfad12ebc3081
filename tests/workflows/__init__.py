"""The generated workflows, executed under act."""
