"""What a recipe changes in a root, as steps; each is cached under the digest of its inputs.

``step`` defines a step, ``step_cache`` runs steps and caches them, ``packages`` and ``plan_steps``
list them in order. Each of the other modules is one kind of step, or a part that steps share.
"""
