"""Supervisors on live calls: who hears whom, and what that takes on the PBX."""
