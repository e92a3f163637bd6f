"""The keys of a program: a name, and either its text or a local file."""

from __future__ import annotations

from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule


def program_keys(*, name_doc: str, name: str, text: str, source: str) -> tuple[KeyRule, ...]:
    """``called`` is the doc of ``name``; the other arguments are examples of the keys."""
    return (
        KeyRule(
            name="name",
            doc=name_doc,
            example=name,
            required=True,
            check=values.check_script_name,
        ),
        KeyRule(
            name="text",
            doc="The script, for /bin/sh.",
            example=text,
            default_text="source is required",
            conflicts=("source",),
            check=values.check_text,
        ),
        KeyRule(
            name="source",
            doc="A local file to run; the path is relative to the recipe's folder.",
            example=source,
            default_text="text is required",
            conflicts=("text",),
            check=values.check_source,
            local=bool,
        ),
    )
