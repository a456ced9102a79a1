"""Every error of the object store, on one page.

    EarwitnessError
    ├── NoSuchObject        the store holds nothing under this key
    ├── StoreUnavailable    the store does not answer: retry later
    ├── StoreRefused        the store answers no; the message names the setting to correct
    └── ObjectMismatch      the object in the store differs from the one that was written

The rules of `storage/errors.py` hold here too.
"""

from storage.errors import EarwitnessError


class NoSuchObject(EarwitnessError):
    """The object store holds nothing under this key."""

    error_id = "no-such-object"


class StoreUnavailable(EarwitnessError):
    """The object store does not answer."""

    error_id = "store-unavailable"


class StoreRefused(EarwitnessError):
    """The object store refuses the request: its rights, bucket or keys are wrong."""

    error_id = "store-refused"


class ObjectMismatch(EarwitnessError):
    """The object in the store differs from the one that was written."""

    error_id = "object-mismatch"
