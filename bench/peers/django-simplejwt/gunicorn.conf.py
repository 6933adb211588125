"""How gunicorn serves Django here: README.md says why."""

import os

on_postgres = "BENCH_DATABASE_URL" in os.environ

bind = f"127.0.0.1:{os.environ['BENCH_PORT']}"
workers = int(os.environ.get("BENCH_WORKERS", "5"))
worker_class = os.environ.get("BENCH_WORKER_CLASS", "gthread" if on_postgres else "sync")
threads = 1
keepalive = 60
graceful_timeout = 2
preload_app = True
accesslog = None
loglevel = "error"


def when_ready(_server):
    print(f"django-simplejwt listening on http://{bind}", flush=True)
