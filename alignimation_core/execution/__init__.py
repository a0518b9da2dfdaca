"""Executors: threads of this process, or a Ray cluster."""
