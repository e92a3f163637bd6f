"""The keys that say a program: a name, and either its text or a local file that has it."""

from __future__ import annotations

from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule


def program_keys(*, called: str, name: str, text: str, source: str) -> tuple[KeyRule, ...]:
    """``called`` says where the name is shown; the others are an example of each key."""
    return (
        KeyRule(
            name="name",
            doc=called,
            example=name,
            required=True,
            check=values.check_script_name,
        ),
        KeyRule(
            name="text",
            doc="The script, for /bin/sh.",
            example=text,
            otherwise="source is required",
            rivals=("source",),
            check=values.check_text,
        ),
        KeyRule(
            name="source",
            doc="A local file to run; the path is relative to the recipe's folder.",
            example=source,
            otherwise="text is required",
            rivals=("text",),
            check=values.check_source,
            local=bool,
        ),
    )
