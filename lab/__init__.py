"""The lab: a telephone world of two real Asterisks, for tests and for demonstrations.

Development only: it is not part of the installed program, and nothing of the program imports it.
"""
