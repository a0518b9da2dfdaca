"""The output folder, on this machine or at an address."""
