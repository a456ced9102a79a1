"""Schema changes, oldest first; applied by `Catalogue.migrate`."""
