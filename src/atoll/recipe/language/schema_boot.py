"""The schema of booting: the kernel, its arguments and modules, and the boot menu."""

from __future__ import annotations

from atoll.recipe.language import check_packages as packages
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

KERNEL = TableRule(
    name="kernel",
    doc="The kernel and its arguments.",
    keys=(
        KeyRule(
            name="package",
            doc="The kernel package, in addition to packages.install.",
            example='"linux-image-amd64"',
            default_text="one of packages.install, or that of the base",
            check=packages.check_kernel_package,
        ),
        KeyRule(
            name="args",
            kind=ValueKind.TEXTS,
            doc="Kernel arguments, one in each item; spaces only inside quotes.",
            example='["quiet", "console=ttyS0"]',
            unique=False,
            check=values.check_kernel_argument,
        ),
        KeyRule(
            name="remove_args",
            kind=ValueKind.TEXTS,
            doc="Arguments of the base to remove; a name alone removes all its values.",
            example='["quiet", "console"]',
            check=values.check_kernel_argument,
        ),
        KeyRule(
            name="modules",
            kind=ValueKind.TEXTS,
            doc="Modules to load on every boot.",
            example='["br_netfilter"]',
            conflicts=("blacklist",),
            check=values.check_module,
        ),
        KeyRule(
            name="blacklist",
            kind=ValueKind.TEXTS,
            doc="Modules that are never loaded automatically.",
            example='["nouveau"]',
            conflicts=("modules", "initrd_modules"),
            check=values.check_module,
        ),
        KeyRule(
            name="initrd_modules",
            kind=ValueKind.TEXTS,
            doc="Modules to add to the initrd, besides those that the build selects.",
            example='["virtio_blk"]',
            conflicts=("blacklist",),
            check=values.check_module,
        ),
    ),
)

BOOT = TableRule(
    name="boot",
    doc="The boot menu.",
    keys=(
        KeyRule(
            name="timeout",
            kind=ValueKind.NUMBER,
            doc="How many seconds the menu is shown; 0 hides it.",
            example="5",
            default_text="3",
            least=0,
            most=600,
        ),
        KeyRule(
            name="title",
            doc="The title of the system in the menu.",
            example='"Reef"',
            default_text="the image's name",
            check=values.check_one_line,
        ),
    ),
)
