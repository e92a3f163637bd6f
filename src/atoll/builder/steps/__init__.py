"""The steps of a build: each changes a root and is cached under the digest of its inputs.

``step`` defines the protocol, ``step_cache`` runs and caches steps, ``packages`` and ``plan_steps``
list them in order. Each other module is one kind of step, or code that steps share.
"""
