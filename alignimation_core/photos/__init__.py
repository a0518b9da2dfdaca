"""Photo files: found, dated, ordered, decoded."""
