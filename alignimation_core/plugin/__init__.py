"""Discovery of plugins, validation of what their stages return, cache keys of stages."""
