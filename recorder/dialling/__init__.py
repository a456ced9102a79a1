"""Calls that we set up: click to dial, call-backs, campaigns. Numbers, hours and plans are pure."""
