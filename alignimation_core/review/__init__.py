"""The review page: see what a run has made of the photos, and decide."""
