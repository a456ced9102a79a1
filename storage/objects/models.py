"""The descriptions of services that boto3 works from, without their documentation."""

import gzip
import json
from pathlib import Path
from typing import Any

import botocore.session
from botocore.loaders import JSONFileLoader


def open_session() -> botocore.session.Session:
    """A session of botocore whose clients take 6 MB less: no program reads documentation."""
    session = botocore.session.get_session()
    session.get_component("data_loader").file_loader = _Undocumented()
    return session


class _Undocumented(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        """The description, as a mapping; None where there is none."""
        for suffix, open_file in ((".json", open), (".json.gz", gzip.open)):
            path = Path(file_path + suffix)
            if path.is_file():
                with open_file(path, "rb") as file:
                    return json.load(file, object_hook=_without_documentation)
        return None


def _without_documentation(entry: dict[str, Any]) -> dict[str, Any]:
    """It is a text everywhere; a shape's member that is called so is a mapping, and stays."""
    if isinstance(entry.get("documentation"), str):
        entry["documentation"] = ""
    return entry
