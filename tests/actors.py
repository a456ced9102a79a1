"""People of the tests, as the audit trail names them."""

from storage.records import Actor

ANN = Actor("user", "ann")
BOB = Actor("user", "bob")
SUE = Actor("user", "sue")
ROOT = Actor("token", "root")
ADMIN = Actor("user", "admin")
TEST = Actor("token", "test")
OFFICER = Actor("user", "officer")
