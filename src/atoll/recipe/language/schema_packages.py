"""The schema of an image's name and content: image, debian, repo, packages."""

from __future__ import annotations

from atoll.recipe.language import check_packages as packages
from atoll.recipe.language import check_policy as policy
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

IMAGE = TableRule(
    name="image",
    doc="The name and version of the image.",
    keys=(
        KeyRule(
            name="name",
            doc="The image's name: lower-case letters and digits, with single . _ - between them.",
            example='"hello"',
            required=True,
            default_text="an error; with a variant it is followed by -VARIANT",
            check=values.check_image_name,
        ),
        KeyRule(
            name="version",
            doc="The image's version, a text that fits an OCI tag.",
            example='"2026.11.1"',
            required=True,
            check=values.check_image_version,
        ),
        KeyRule(
            name="description",
            doc="One line about the purpose of the image.",
            example='"A desktop for schools"',
            default="",
            default_text="empty",
            check=values.check_one_line,
        ),
        KeyRule(
            name="labels",
            kind=ValueKind.MAP,
            doc="Further OCI labels of the image.",
            example='{ "org.opencontainers.image.source" = "https://git.example/hello" }',
            check=values.check_one_line,
            check_name=policy.check_label,
        ),
    ),
)

DEBIAN = TableRule(
    name="debian",
    doc="The Debian archive that packages come from.",
    keys=(
        KeyRule(
            name="suite",
            doc='The suite; only where from does not name one, required with from = "empty".',
            example='"trixie"',
            default_text="from from, or that of the base",
            check=packages.check_suite,
        ),
        KeyRule(
            name="components",
            kind=ValueKind.TEXTS,
            doc="The components of the archive to use.",
            example='["main", "non-free-firmware"]',
            default_text='["main"], or what the base has',
            check=packages.check_component,
        ),
        KeyRule(
            name="architectures",
            kind=ValueKind.TEXTS,
            doc="Foreign architectures, whose packages can be installed too.",
            example='["i386"]',
            check=packages.check_architecture,
        ),
        KeyRule(
            name="mirror",
            doc=(
                "The address of the archive: http://, https:// or file:///, without "
                "a password; {snapshot} in it stands for the time of the snapshot."
            ),
            example='"https://mirror.example/debian"',
            default_text="from the configuration of apt on the building machine",
            check=packages.check_mirror,
        ),
        KeyRule(
            name="security_mirror",
            doc="The address of the security archive, in the form of mirror.",
            example='"https://mirror.example/debian-security"',
            default_text="from the configuration of apt on the building machine",
            check=packages.check_mirror,
        ),
        KeyRule(
            name="snapshot",
            doc="Use the archive as it was at this time (UTC); mirror needs {snapshot} in it.",
            example='"20260820T000000Z"',
            default_text="the archive as it is now",
            check=packages.check_snapshot,
        ),
        KeyRule(
            name="security",
            kind=ValueKind.BOOLEAN,
            doc="Whether to use SUITE-security too, where the suite has one.",
            example="false",
            default=True,
        ),
        KeyRule(
            name="updates",
            kind=ValueKind.BOOLEAN,
            doc="Whether to use SUITE-updates too, where the suite has one.",
            example="false",
            default=True,
        ),
    ),
)

REPOSITORY = TableRule(
    name="repo",
    doc="An additional package repository.",
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="The name of the repository, here and in the tree's apt.",
            example='"vendor"',
            required=True,
            check=packages.check_repository,
        ),
        KeyRule(
            name="uris",
            kind=ValueKind.TEXTS,
            doc="Its addresses: http://, https:// or file:///, without a password.",
            example='["https://packages.example/debian"]',
            required=True,
            check=packages.check_repository_uri,
        ),
        KeyRule(
            name="suites",
            kind=ValueKind.TEXTS,
            doc="Its suites; for a repository without suites, directories that end in /.",
            example='["stable"]',
            required=True,
            check=packages.check_repository_suite,
        ),
        KeyRule(
            name="components",
            kind=ValueKind.TEXTS,
            doc="The components to use; a directory has none, a suite has at least one.",
            example='["main"]',
            check=packages.check_component,
        ),
        KeyRule(
            name="architectures",
            kind=ValueKind.TEXTS,
            doc="The architectures to use.",
            example='["amd64"]',
            default_text="all architectures of the tree",
            check=packages.check_architecture,
        ),
        KeyRule(
            name="key",
            doc="A local file with the public key that signs the repository, armored or not.",
            example='"./vendor.asc"',
            default="",
            default_text="keys that Debian trusts",
            check=values.check_source,
            local=bool,
        ),
        KeyRule(
            name="priority",
            kind=ValueKind.NUMBER,
            doc=(
                "The apt pin priority of its packages: below 0 never installs, "
                "above 1000 even downgrades."
            ),
            example="100",
            default_text="apt's own, 500",
            least=-32768,
            most=32767,
        ),
        KeyRule(
            name="keep",
            kind=ValueKind.BOOLEAN,
            doc="Whether the apt of the tree uses the repository too.",
            example="false",
            default=True,
        ),
    ),
)

PACKAGES = TableRule(
    name="packages",
    doc="The packages of the tree.",
    keys=(
        KeyRule(
            name="install",
            kind=ValueKind.TEXTS,
            doc="Packages as apt writes them (NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE),"
            " or .deb files beside the recipe (./FILE.deb).",
            example='["systemd-sysv", "linux-image-amd64", "htop/trixie-backports"]',
            default_text="an error, unless from brings packages along",
            check=packages.check_package,
            item_key=packages.package_name,
            conflicts=("remove",),
            local=packages.is_local_package,
        ),
        KeyRule(
            name="remove",
            kind=ValueKind.TEXTS,
            doc="Packages (NAME or NAME:ARCH) that must not be installed.",
            example='["nano"]',
            check=packages.check_removed_package,
            item_key=packages.package_name,
            conflicts=("install",),
        ),
        KeyRule(
            name="versions",
            kind=ValueKind.MAP,
            doc=(
                "The version of a package, also when only another package needs it; "
                "* at the end matches anything."
            ),
            example='{ "linux-image-amd64" = "6.12.*" }',
            check=packages.check_version_pattern,
            check_name=packages.check_removed_package,
        ),
        KeyRule(
            name="sources",
            kind=ValueKind.MAP,
            doc="The [[repo]] or suite that a package comes from.",
            example='{ "podman" = "trixie-backports" }',
            check=packages.check_package_source,
            check_name=packages.check_removed_package,
        ),
        KeyRule(
            name="recommends",
            kind=ValueKind.BOOLEAN,
            doc="Whether to install recommended packages too.",
            example="true",
            default=False,
        ),
        KeyRule(
            name="debconf",
            kind=ValueKind.TEXTS,
            doc=(
                "Answers to questions of packages, also about licences: lines for "
                "debconf-set-selections."
            ),
            example='["steam steam/question select I AGREE"]',
            check=packages.check_debconf,
        ),
    ),
)
