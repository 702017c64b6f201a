"""A site that traces: an app (``GRACEFUL_TEST_APP``) whose start sets a provider of tracers, as a site would."""
