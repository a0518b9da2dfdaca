"""What a plugin author may import: stages, the data they pass, and the means to make them."""
