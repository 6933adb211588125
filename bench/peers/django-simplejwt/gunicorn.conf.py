"""How gunicorn serves Django here: README.md says why."""

import os

bind = f"127.0.0.1:{os.environ['BENCH_PORT']}"
# As its documentation recommends: twice the cores and one more, of the class that is its default.
workers = int(os.environ.get("BENCH_WORKERS") or 2 * os.cpu_count() + 1)
worker_class = "sync"
graceful_timeout = 2
preload_app = True
accesslog = None
loglevel = "error"


def when_ready(_server):
    print(f"django-simplejwt listening on http://{bind}", flush=True)
