"""Pin the images in the Dockerfiles and in compose.yaml by digest: tools/pin_images.py

`docker buildx imagetools` looks up the present digest of each tag, at the registries that it is set
up for. The tag stays beside the digest: `postgres:18@sha256:…`. Nothing is written if one fails.
"""

import re
import subprocess
import sys
from pathlib import Path

FILES = (Path("Dockerfile"), Path("deploy/asterisk/Dockerfile"), Path("compose.yaml"))
# `FROM image` or `image: name:tag`, without or with a digest; our own image has no tag.
IMAGE = re.compile(r"^(FROM |\s*image: )([\w./-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?", re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def find_images(text: str) -> list[str]:
    """Return the images that a file names, with their tags."""
    return [found[2] for found in IMAGE.finditer(text)]


def pin(text: str, digests: dict[str, str]) -> str:
    """Return the file with these digests behind the tags, and no older ones."""
    return IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{digests[found[2]]}", text)


def look_up(image: str) -> str:
    """Return the digest that the tag has now. Raises SystemExit with the reason."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run([*command, image], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit("docker is not installed here: nothing was looked up") from None
    digest = done.stdout.strip()
    if done.returncode or not DIGEST.fullmatch(digest):
        reason = (done.stderr.strip().splitlines() or [digest or "no answer"])[-1]
        raise SystemExit(f"{image} was not looked up: {reason}")
    return digest


def main() -> None:
    """Pin all images, or none."""
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    images = sorted({one for text in texts.values() for one in find_images(text)})
    digests = {image: look_up(image) for image in images}
    for path, text in texts.items():
        path.write_text(pin(text, digests), encoding="utf-8")
    for image, digest in digests.items():
        print(f"{image}@{digest}")


if __name__ == "__main__":
    sys.exit(main())
