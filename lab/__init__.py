"""The lab: a telephone world of two real Asterisks, for tests and for demonstrations.

It is for development only: it is not installed, and the program does not import it.
"""
