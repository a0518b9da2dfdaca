"""Target builder and transform model at work: from subjects to transforms."""
