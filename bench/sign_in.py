"""The time to refuse a sign-in: an unknown name, a wrong password, a user of a provider.

A stranger who measures the answers must not learn which names exist. Each sample asks the real
application, with its database, for all three in a random order; each from an address of its own,
because failures are limited. The bar: the medians differ by less than 5 %.

    python bench/sign_in.py [--samples 200]
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from uuid import uuid4

from werkzeug.test import Client

sys.path.insert(0, str(Path(__file__).parent.parent))

from api.app import ApiSettings, build_app
from earwitness.embedded import EmbeddedPostgres
from storage.catalogue import hits, users
from storage.catalogue.engine import Catalogue
from storage.passwords import hash_password

BAR = 0.05
RIGHT, WRONG = "correct horse battery", "incorrect horse battery"
WARM_UP = 10
COUNTED_FOR = 50  # samples; then the limit of failures starts anew


def main() -> int:
    """Measure all; return exit status 0 if the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    samples = parser.parse_args().samples
    with (
        TemporaryDirectory(prefix="earwitness-bench-") as directory,
        EmbeddedPostgres(Path(directory) / "data") as server,
    ):
        catalogue = Catalogue(server.url)
        catalogue.migrate()
        known, provided = add_users(catalogue)
        # The sign-in needs neither a store nor a PBX.
        parts = cast("Any", None)
        app = build_app(catalogue, parts, parts, parts, ApiSettings())
        names = {"unknown name": "nobody", "wrong password": known, "user of a provider": provided}
        times = measure(catalogue, app.test_client(), names, samples)
        app.extensions["earwitness"].feed.close()
        catalogue.close()
    return judge(times)


def add_users(catalogue: Catalogue) -> tuple[str, str]:
    """Add a user with a password and one of an identity provider; return their names."""
    known, provided = f"known-{uuid4()}", f"provided-{uuid4()}"
    with catalogue.begin() as tx:
        kept = hash_password(RIGHT)
        users.create_user(tx, name=known, role="agent", team=None, password_hash=kept)
        of_provider = {"issuer": "https://login.example", "subject": provided}
        users.bring_user(tx, **of_provider, name=provided, role="agent", team=None)
    return known, provided


def measure(
    catalogue: Catalogue, browser: Client, names: dict[str, str], samples: int
) -> dict[str, list[float]]:
    """Return the seconds of each refusal, in the order in which they were asked."""
    times: dict[str, list[float]] = {case: [] for case in names}
    for sample in range(-WARM_UP, samples):
        if sample % COUNTED_FOR == 0:
            with catalogue.begin() as tx:
                hits.delete_hits(tx)
        for case, name in random.sample(list(names.items()), len(names)):
            form = {"name": f"nobody-{uuid4()}" if name == "nobody" else name, "password": WRONG}
            address = {"REMOTE_ADDR": f"test-{uuid4()}"}
            began_at = time.perf_counter()
            answered = browser.post("/sign-in", data=form, environ_base=address)
            took_s = time.perf_counter() - began_at
            if answered.status_code != 401:
                raise SystemExit(f"{case}: the answer is {answered.status_code}, not 401")
            if sample >= 0:
                times[case].append(took_s)
    return times


def judge(times: dict[str, list[float]]) -> int:
    """Print the figures; return 0 if no case differs from another by more than the bar."""
    medians = {case: statistics.median(found) for case, found in times.items()}
    p90s = {case: statistics.quantiles(found, n=10)[-1] for case, found in times.items()}
    for case in times:
        print(f"{case:20} median {medians[case] * 1000:7.2f} ms  p90 {p90s[case] * 1000:7.2f} ms")
    spread = max(medians.values()) / min(medians.values()) - 1
    print(f"the medians differ by {spread:.1%} (bar {BAR:.0%})")
    return 0 if spread < BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
