"""The ``/etc`` of deployments: reading it, the three-way merge, staging, and conflicts."""
