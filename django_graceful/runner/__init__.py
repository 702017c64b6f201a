"""The runner: ``manage.py runqueues``, one master process and its worker processes.

Read in this order: :mod:`~django_graceful.runner.master` (phases and signals), :mod:`~django_graceful.runner.pump`
(store ↔ workers), :mod:`~django_graceful.runner.dispatch` (which worker gets what, pure),
:mod:`~django_graceful.runner.handle` (a worker as the master sees it), :mod:`~django_graceful.runner.forkserver` and
:mod:`~django_graceful.runner.worker` (the other side).
"""
