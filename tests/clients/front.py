"""A TLS front with Microsoft's host names, for clients that will not speak to anything else. Run inside the private world.

    python front.py ACI_URL CERTIFICATE LOG

`management.azure.com` is the local ACI behind a reverse proxy, which rewrites the addresses in answers as proxies do;
`login.microsoftonline.com` gives a token to whoever has another secret than EXPIRED. What nobody here answers is written to LOG.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import tornado.httpclient
import tornado.httpserver
import tornado.web

ARM, LOGIN = "management.azure.com", "login.microsoftonline.com"
HOSTS = (ARM, LOGIN, "login.microsoft.com", "login.windows.net", "graph.microsoft.com", "graph.windows.net")
EXPIRED = "expired"
HOP_BY_HOP = {"connection", "host", "transfer-encoding", "content-length", "keep-alive", "accept-encoding", "upgrade"}


def part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def token(tenant: str) -> str:
    now = int(time.time())
    claims = {"aud": f"https://{ARM}/", "iss": f"https://sts.windows.net/{tenant}/", "iat": now, "nbf": now, "exp": now + 3600}
    claims |= {"tid": tenant, "oid": "33333333-3333-3333-3333-333333333333", "appid": "22222222-2222-2222-2222-222222222222", "ver": "1.0"}
    return f"{part({'alg': 'RS256', 'typ': 'JWT', 'kid': 'k'})}.{part(claims)}.{part({'not': 'signed'})}"


class Login(tornado.web.RequestHandler):
    """What MSAL in three languages asks for."""

    def get(self, path: str) -> None:
        if path.startswith("/common/discovery/instance"):
            here = [{"preferred_network": LOGIN, "preferred_cache": LOGIN, "aliases": [LOGIN]}]
            tenant = f"https://{LOGIN}/common/v2.0/.well-known/openid-configuration"
            self.finish({"tenant_discovery_endpoint": tenant, "api-version": "1.1", "metadata": here})
        elif path.endswith("/.well-known/openid-configuration"):
            tenant = path.split("/")[1]
            base = f"https://{LOGIN}/{tenant}"
            self.finish(
                {
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "issuer": f"{base}/v2.0",
                    "jwks_uri": f"{base}/discovery/v2.0/keys",
                    "response_types_supported": ["code", "id_token"],
                    "subject_types_supported": ["pairwise"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "tenant_region_scope": "EU",
                }
            )
        else:
            self.send_error(404)

    def post(self, path: str) -> None:
        if self.get_body_argument("client_secret", "") == EXPIRED:
            self.set_status(401)
            self.finish({"error": "invalid_client", "error_description": "AADSTS7000222: The provided client secret keys are expired."})
        elif path.endswith("/token"):
            self.finish({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token(path.split("/")[1])})
        else:
            self.send_error(404)


class Arm(tornado.web.RequestHandler):
    """Everything else goes to the local ACI."""

    SUPPORTED_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")

    def initialize(self, aci: str, log: Path) -> None:
        self._aci = aci
        self._told = log

    async def _forward(self, path: str) -> None:
        headers = {name: value for name, value in self.request.headers.items() if name.lower() not in HOP_BY_HOP}
        answer = await tornado.httpclient.AsyncHTTPClient().fetch(
            self._aci + self.request.uri,
            method=self.request.method,
            headers=headers,
            body=self.request.body or None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            raise_error=False,
            request_timeout=120,
        )
        with self._told.open("a") as log:
            log.write(f"{answer.code} {self.request.method} {self.request.host} {self.request.uri}\n")
        self.set_status(answer.code, answer.reason)
        self.clear_header("Content-Type")
        for name, value in answer.headers.get_all():
            if name.lower() not in HOP_BY_HOP:
                self.set_header(name, self._outside(value))
        if answer.body and answer.code != 204:
            self.finish(self._outside(answer.body.decode()))
        else:
            self.finish()

    get = head = put = post = patch = delete = options = _forward

    def _outside(self, text: str) -> str:
        return text.replace(self._aci, f"https://{ARM}")


async def main(aci: str, certificate: str, log: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    front = tornado.web.Application([(r"(.*)", Arm, {"aci": aci, "log": Path(log)})], log_function=lambda _: None)
    front.add_handlers(r"login\..*", [(r"(.*)", Login)])
    tornado.httpserver.HTTPServer(front, ssl_options=context).listen(443, "127.0.0.1")
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
