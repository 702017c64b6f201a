"""Settings of Lichtwand, a small site that shows django_graceful at work.

Everything the site writes is in ``var/`` beside the package (``LICHTWAND_VAR`` names another place). Mail goes to the
demo's own SMTP server on ``LICHTWAND_SMTP_PORT``, and through the queue.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core import mail

from testproject.secret import kept_secret

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("LICHTWAND_VAR") or BASE_DIR / "var").absolute()
VAR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = kept_secret(VAR / "secret-key", length=50)
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_graceful",
    "django_graceful.contrib.mail",
    "testproject.wall",
    "testproject.newsletter",
    "testproject.work",
    "testproject.outbox",
]
MIDDLEWARE = [
    "django_graceful.middleware.ProcessMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "testproject.csp.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "testproject/templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"
LOGIN_URL = "admin:login"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        # web workers and the runner's workers write at the same time: wait for the lock from the first statement on
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "testproject/static"]
WHITENOISE_USE_FINDERS = True
MEDIA_URL = "/media/"
MEDIA_ROOT = VAR / "media"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

GRACEFUL = {
    "STORES": {"default": {"BACKEND": "leveldb", "PATH": VAR / "graceful"}},
    "HAMMER_AFTER": 10,
    "SIDECAR": True,
}

SITE_URL = os.environ.get("LICHTWAND_URL", "http://localhost:8000")
STUDIO = "studio@lichtwand.example"
DEFAULT_FROM_EMAIL = "Lichtwand <wall@lichtwand.example>"
OUTBOX = VAR / "outbox.jsonl"
WEBHOOKS = VAR / "webhooks.jsonl"
_QUEUED = "django_graceful.contrib.mail.backend.EmailBackend"
_SMTP = "django.core.mail.backends.smtp.EmailBackend"
_SMTP_HOST, _SMTP_PORT = "127.0.0.1", int(os.environ.get("LICHTWAND_SMTP_PORT", "8025"))
if hasattr(mail, "mailers"):
    MAILERS = {
        "default": {"BACKEND": _QUEUED, "OPTIONS": {"deliver_using": "smtp"}},
        "smtp": {"BACKEND": _SMTP, "OPTIONS": {"host": _SMTP_HOST, "port": _SMTP_PORT, "timeout": 10}},
    }
else:
    EMAIL_BACKEND = _QUEUED
    EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = _SMTP_HOST, _SMTP_PORT, 10
    GRACEFUL["MAIL"] = {"DELIVER_USING": _SMTP}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{", "datefmt": "%H:%M:%S"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django_graceful": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
