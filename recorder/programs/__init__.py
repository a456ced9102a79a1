"""Requests of other programs on a PBX: they dial, call back and hold conferences through us."""
