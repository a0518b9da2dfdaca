"""Cache of what was computed, in one SQLite file: see docs/store.md."""
