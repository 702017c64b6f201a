"""What ``manage.py graceful`` does, one file for each group of sub-commands. Runs in the command's process only.

A sub-command collects plain data (:mod:`django_graceful.console.desks` finds the stores), and renders that same data as
text or as JSON, so the two can not disagree. What comes from items is never written to a terminal as it is.
"""
