"""Detector, embedder and subject selector at work on the photos."""
