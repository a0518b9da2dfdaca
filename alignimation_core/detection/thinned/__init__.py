"""Fewer photos: which are copies, and which is shown of those close in time."""
