"""Keeps Schemathesis signed in: what it calls (logout, revoke, revoke-all) ends the session that it calls with."""

import itertools
import os

import httpx
import schemathesis

URL = os.environ["COUNTERSIGN_URL"]
# What a 401 says where the token was refused, not the request.
TOKEN_REFUSED = {"token_expired", "session_revoked", "account_revoked", "everyone_revoked", "session_ended"}


numbers = itertools.count()


def address():
    """An address of its own: the throttles count per address, and all of this run comes from one machine.

    It is counted, not drawn: Hypothesis seeds the random numbers of every test alike.
    """
    number = next(numbers)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


class Session:
    token = None

    @classmethod
    def sign_in(cls):
        answer = httpx.post(
            f"{URL}/api/auth/login",
            json={
                "username": os.environ["COUNTERSIGN_ADMIN_USERNAME"],
                "password": os.environ["COUNTERSIGN_ADMIN_PASSWORD"],
            },
            headers={"X-Forwarded-For": address()},
            timeout=30,
        )
        answer.raise_for_status()
        cls.token = answer.json()["token"]


@schemathesis.auth(refresh_interval=None)
class Admin:
    def get(self, case, context):
        if Session.token is None:
            Session.sign_in()
        return Session.token

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context, case, kwargs):
    case.headers["X-Forwarded-For"] = address()


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code != 401:
        return
    try:
        code = response.json().get("code")
    except ValueError:
        return
    if code in TOKEN_REFUSED:
        Session.token = None
