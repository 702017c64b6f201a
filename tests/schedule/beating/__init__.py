"""An app of its own (``GRACEFUL_TEST_APP``), so that no other runner has its schedules."""
