"""Live changes: a deployment's ``/usr`` and ``/etc`` become the running ones without a reboot."""
