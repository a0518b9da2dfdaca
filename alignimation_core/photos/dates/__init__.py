"""When a photo was taken: what its file, its name and others say of it, and whom to believe."""
