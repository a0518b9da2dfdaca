"""Corrections: what the user says of single photos, which has the last word."""
