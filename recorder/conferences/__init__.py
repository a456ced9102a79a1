"""Conferences that we hold in bridges of a PBX, and their members."""
