"""The ``/etc`` of deployments: three views, their merge, staging, and what is left to settle."""
