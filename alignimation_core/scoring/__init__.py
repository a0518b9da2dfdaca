"""How still the subject stands: finished frames are looked at again, and scored."""
