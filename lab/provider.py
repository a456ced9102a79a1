"""A small OpenID provider: real HTTP, RS256, a sign-in form; a test can make it misbehave."""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from threading import Event, Thread
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, redirect, request
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "earwitness", "hush"
FORM = """<!doctype html><html lang="en"><title>Provider</title><link rel="icon" href="data:,">
<form method="post"><label>User <input name="user"></label>
<button name="act" value="in">Sign in</button><button name="act" value="no">Cancel</button></form>
"""


class Provider:
    """A provider on its own loopback port, as a context.

    `people` maps each user to the claims of the id_token, `userinfo` to claims of the userinfo
    endpoint alone. `changes` go into each id_token, `signer` signs it, and `keys` are published.
    `paths` lists the path of every request. A request waits until `answers` is set.
    """

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.userinfo: dict[str, dict[str, Any]] = {}
        self.changes: dict[str, Any] = {}
        self.signer = new_key()
        self.keys = [self.signer]
        self.paths: list[str] = []
        self.answers = Event()
        self.answers.set()
        self._codes: dict[str, dict[str, str]] = {}
        self._bearers: dict[str, str] = {}
        self._app = Flask("provider")
        for rule, view in {
            "/.well-known/openid-configuration": self._discover,
            "/keys": self._publish_keys,
            "/userinfo": self._give_userinfo,
        }.items():
            self._app.add_url_rule(rule, rule, view)
        self._app.add_url_rule("/authorize", "authorize", self._authorize, methods=["GET", "POST"])
        self._app.add_url_rule("/token", "token", self._give_token, methods=["POST"])
        self._app.before_request(self._admit)
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Provider":
        Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering. Safe to repeat."""
        self._server.shutdown()
        self._server.server_close()

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        self.signer = new_key()
        self.keys = [self.signer]

    def _admit(self) -> None:
        self.paths.append(request.path)
        self.answers.wait(60)

    def _discover(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "none", "HS256"],
        }

    def _publish_keys(self) -> Any:
        return KeySet(list(self.keys)).as_dict(private=False)

    def _authorize(self) -> Any:
        wanted = request.args
        if wanted["client_id"] != CLIENT_ID or wanted["code_challenge_method"] != "S256":
            return Response("no such client", 400)
        if request.method == "GET":
            return Response(FORM, content_type="text/html")
        if request.form.get("act") == "no" or request.form["user"] not in self.people:
            return _back({"error": "access_denied"})
        code = secrets.token_urlsafe()
        self._codes[code] = {**wanted, "user": request.form["user"]}
        return _back({"code": code})

    def _give_token(self) -> Any:
        given = request.form
        who = request.authorization
        if who is None or (who.username, who.password) != (CLIENT_ID, CLIENT_SECRET):
            return {"error": "invalid_client"}, 401
        started = self._codes.pop(given["code"], None)
        # PKCE: the client that started knows the text behind the challenge.
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        same = {"redirect_uri": given["redirect_uri"], "code_challenge": challenge}
        if started is None or not same.items() <= started.items():
            return {"error": "invalid_grant"}, 400
        bearer = secrets.token_urlsafe()
        self._bearers[bearer] = started["user"]
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": started["user"],
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": started["nonce"],
            **self.people[started["user"]],
            **self.changes,
        }
        id_token = jwt.encode({"alg": "RS256", "kid": self.signer.kid}, claims, self.signer)
        return {"access_token": bearer, "token_type": "Bearer", "id_token": id_token}

    def _give_userinfo(self) -> Any:
        user = self._bearers[str(request.headers["Authorization"]).removeprefix("Bearer ")]
        return {"sub": user, **self.userinfo.get(user, {})}


def new_key() -> RSAKey:
    """Return a new key."""
    return RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)


def _back(answer: Mapping[str, str]) -> Any:
    query = urlencode({**answer, "state": request.args["state"]})
    return redirect(f"{request.args['redirect_uri']}?{query}", 303)
