"""The demo: ``python -m testproject.demo`` runs the site, its runner and a mail server, and stops them gracefully."""
