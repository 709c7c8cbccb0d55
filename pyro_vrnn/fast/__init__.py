"""Loops over time with a backward pass of their own. A reader may ignore them: the results are the same."""
