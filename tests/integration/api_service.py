"""Serve the API under gunicorn in a process of its own, for the tests of the server.

Arguments: the port; as JSON the database's URL, the object store's settings, the configuration of
the identity provider, if there is one, the addresses of dialplans without a token, and the number
of proxies; a file to make at the end. Beside it each worker makes one, `built-` and its process id,
once it can work.
"""

import json
import os
import sys
from pathlib import Path

from api_client import CatalogueCapture, CatalogueSpies
from flask import Flask

from api.app import ApiSettings, build_app
from api.server import serve
from earwitness.config import Config
from earwitness.wiring import oidc_settings
from storage.catalogue.engine import Catalogue
from storage.errors import ConfigurationInvalid
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectStoreSettings


def main(port: str, arguments: str, ended: str) -> None:
    """Serve until SIGTERM."""
    wanted = json.loads(arguments)
    provider = oidc_settings(Config.model_validate({"oidc": wanted.get("oidc", {})}))

    proxies = wanted.get("proxies", 0)
    known = wanted.get("dialplan_addresses", {})
    dialplans = {pbx: frozenset(addresses) for pbx, addresses in known.items()}

    def build() -> Flask:
        catalogue = Catalogue(wanted["database_url"])
        objects = S3ObjectStore(ObjectStoreSettings(**wanted["objects"]))
        app = build_app(
            catalogue,
            objects,
            CatalogueCapture(catalogue),
            CatalogueSpies(catalogue),
            ApiSettings(oidc=provider, dialplan_addresses=dialplans, proxies=proxies),
        )
        Path(ended).with_name(f"built-{os.getpid()}").touch()
        return app

    try:
        serve(build, "127.0.0.1", int(port), proxies=proxies)
    except ConfigurationInvalid as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    finally:
        Path(ended).touch(exist_ok=False)  # of this process alone, not of its workers


if __name__ == "__main__":
    main(*sys.argv[1:])
