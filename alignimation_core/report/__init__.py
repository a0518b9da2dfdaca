"""The report: what became of a run's photos, as a page that opens from the disk."""
