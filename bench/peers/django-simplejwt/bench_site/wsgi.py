import os

from django.core.wsgi import get_wsgi_application
from django.db.backends.signals import connection_created

from bench_site.durable import check

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench_site.settings")
connection_created.connect(check)
application = get_wsgi_application()
