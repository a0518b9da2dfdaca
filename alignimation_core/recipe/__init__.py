"""A YAML recipe, read, validated and bound to the stages that it names."""
