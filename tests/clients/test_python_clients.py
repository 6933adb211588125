"""PyJWT and Authlib verify our access tokens with nothing but the issuer's URL.

Run by `run python`; needs COUNTERSIGN_URL, which must also be the issuer. COUNTERSIGN_AUDIENCE where it is not the default.
"""

import base64
import json
import os
import uuid

import httpx
import jwt
import pytest
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

ISSUER = os.environ["COUNTERSIGN_URL"]
AUDIENCE = os.environ.get("COUNTERSIGN_AUDIENCE", "http://localhost:4200")


def post(path, body):
    answer = httpx.post(ISSUER + path, json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def discover():
    answer = httpx.get(f"{ISSUER}/.well-known/openid-configuration", timeout=30)
    assert answer.status_code == 200, answer.text
    metadata = answer.json()
    assert metadata["issuer"] == ISSUER
    return metadata


@pytest.fixture(scope="module")
def account():
    username = f"python-{uuid.uuid4()}"
    return {"username": username, "email": f"{username}@example.com", "password": f"a phrase of {username}"}


@pytest.fixture(scope="module")
def token(account):
    post("/api/auth/register", account)
    return post("/api/auth/login", {key: account[key] for key in ("username", "password")})["token"]


@pytest.fixture(scope="module")
def forged(token):
    """The same token with the payload of an Admin."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["roles"] = ["Admin"]
    return ".".join([header, base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("="), signature])


def pyjwt_verify(token, issuer=ISSUER, audience=AUDIENCE):
    key = jwt.PyJWKClient(discover()["jwks_uri"]).get_signing_key_from_jwt(token)
    required = ["iss", "aud", "sub", "client_id", "iat", "exp", "jti", "sid"]
    # The algorithm is the published key's, never the token's.
    return jwt.decode(
        token, key, algorithms=[key.algorithm_name], issuer=issuer, audience=audience, options={"require": required}
    )


def test_pyjwt_accepts_a_genuine_token(token, account):
    claims = pyjwt_verify(token)
    assert claims["name"] == account["username"]
    assert claims["roles"] == ["User"]
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"


def test_pyjwt_refuses_another_payload(forged):
    with pytest.raises(jwt.InvalidSignatureError):
        pyjwt_verify(forged)


def test_pyjwt_refuses_another_issuer_or_audience(token):
    with pytest.raises(jwt.InvalidIssuerError):
        pyjwt_verify(token, issuer="https://elsewhere.example")
    with pytest.raises(jwt.InvalidAudienceError):
        pyjwt_verify(token, audience="https://elsewhere.example")


class ResourceServer(JWTBearerTokenValidator):
    """Authlib's own validator of RFC 9068 access tokens, told where the keys are by discovery alone."""

    def get_jwks(self):
        return httpx.get(discover()["jwks_uri"], timeout=30).json()


def authlib_verify(token, issuer=ISSUER, audience=AUDIENCE, **roles):
    validator = ResourceServer(issuer=issuer, resource_server=audience)
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, scopes=None, request=None, **roles)
    return claims


def test_authlib_accepts_a_genuine_token(token, account):
    claims = authlib_verify(token, roles=["User"])
    assert claims["name"] == account["username"]


def test_authlib_refuses_another_payload(forged):
    with pytest.raises(InvalidTokenError):
        authlib_verify(forged)


def test_authlib_refuses_another_issuer_audience_or_role(token):
    for wrong in (
        {"issuer": "https://elsewhere.example"},
        {"audience": "https://elsewhere.example"},
        {"roles": ["Admin"]},
    ):
        with pytest.raises(InvalidTokenError):
            authlib_verify(token, **wrong)
