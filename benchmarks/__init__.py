"""Measurements of speed, memory and training choices; never part of the tests."""
