"""What is there before the first request: tables and users."""

import os
import secrets
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench_site.settings")
SECRET = Path(os.environ["BENCH_DATADIR"]) / "secret"
if not SECRET.exists():
    SECRET.write_text(secrets.token_urlsafe(48))

import django  # noqa: E402  # its settings read the secret

django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
if not User.objects.exists():
    # One hash serves all, since making them is not what is measured; each sign-in still derives it.
    password = make_password("correct horse battery")
    numbers = range(int(os.environ.get("BENCH_USERS", "64")))
    users = [User(username=f"user{number}", password=password) for number in numbers]
    User.objects.bulk_create(users, batch_size=1000)
