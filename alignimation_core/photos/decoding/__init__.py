"""Pixels of picture files: upright, of full scale or reduced, in sRGB."""
