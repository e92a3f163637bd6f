"""The schema of what an image is called and made of: image, debian, repositories, packages."""

from __future__ import annotations

from atoll.recipe.language import check_packages as packages
from atoll.recipe.language import check_policy as policy
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

IMAGE = TableRule(
    name="image",
    doc="What the image is called.",
    keys=(
        KeyRule(
            name="name",
            doc="The image's name: small letters and digits, with single . _ - between them.",
            example='"hello"',
            required=True,
            otherwise="an error; with a variant it is followed by -VARIANT",
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
            doc="One line that says what the image is for.",
            example='"A desktop for schools"',
            default="",
            otherwise="empty",
            check=values.check_one_line,
        ),
        KeyRule(
            name="labels",
            kind=ValueKind.MAP,
            doc="More labels of the image, as OCI has them.",
            example='{ "org.opencontainers.image.source" = "https://git.example/hello" }',
            check=values.check_one_line,
            check_name=policy.check_label,
        ),
    ),
)

DEBIAN = TableRule(
    name="debian",
    doc="Where Debian's packages come from.",
    keys=(
        KeyRule(
            name="suite",
            doc='The suite; only where from does not name one, and needed with from = "empty".',
            example='"trixie"',
            otherwise="from says it, or the base has it",
            check=packages.check_suite,
        ),
        KeyRule(
            name="components",
            kind=ValueKind.TEXTS,
            doc="The parts of the archive that packages are taken from.",
            example='["main", "non-free-firmware"]',
            otherwise='["main"], or what the base has',
            check=packages.check_component,
        ),
        KeyRule(
            name="architectures",
            kind=ValueKind.TEXTS,
            doc="Foreign architectures beside the machine's, whose packages can be installed too.",
            example='["i386"]',
            check=packages.check_architecture,
        ),
        KeyRule(
            name="mirror",
            doc="Where the archive is: http://, https:// or file:///, without a password;"
            " {snapshot} in it stands for the time of the snapshot.",
            example='"https://mirror.example/debian"',
            otherwise="the building machine's apt decides",
            check=packages.check_mirror,
        ),
        KeyRule(
            name="security_mirror",
            doc="Where the archive of security updates is, written as mirror is.",
            example='"https://mirror.example/debian-security"',
            otherwise="the building machine's apt decides",
            check=packages.check_mirror,
        ),
        KeyRule(
            name="snapshot",
            doc="The time in UTC at which the archive is looked at; mirror has {snapshot} in it.",
            example='"20260820T000000Z"',
            otherwise="the archive as it is",
            check=packages.check_snapshot,
        ),
        KeyRule(
            name="security",
            kind=ValueKind.SWITCH,
            doc="Whether packages are taken from SUITE-security too, where the suite has one.",
            example="false",
            default=True,
        ),
        KeyRule(
            name="updates",
            kind=ValueKind.SWITCH,
            doc="Whether packages are taken from SUITE-updates too, where the suite has one.",
            example="false",
            default=True,
        ),
    ),
)

REPOSITORY = TableRule(
    name="repo",
    doc="One more repository of packages.",
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="What the repository is called here and in the tree's apt.",
            example='"vendor"',
            required=True,
            check=packages.check_repository,
        ),
        KeyRule(
            name="uris",
            kind=ValueKind.TEXTS,
            doc="Where the repository is: http://, https:// or file:///, without a password.",
            example='["https://packages.example/debian"]',
            required=True,
            check=packages.check_repository_uri,
        ),
        KeyRule(
            name="suites",
            kind=ValueKind.TEXTS,
            doc="Its suites, or folders in it that end in / where it has none.",
            example='["stable"]',
            required=True,
            check=packages.check_repository_suite,
        ),
        KeyRule(
            name="components",
            kind=ValueKind.TEXTS,
            doc="The components that are used; a folder has none, a suite has one at least.",
            example='["main"]',
            check=packages.check_component,
        ),
        KeyRule(
            name="architectures",
            kind=ValueKind.TEXTS,
            doc="The architectures that it has.",
            example='["amd64"]',
            otherwise="all that the tree has",
            check=packages.check_architecture,
        ),
        KeyRule(
            name="key",
            doc="A local file with the public key that signs the repository, armoured or not.",
            example='"./vendor.asc"',
            default="",
            otherwise="it is signed with a key that Debian trusts",
            check=values.check_source,
            local=bool,
        ),
        KeyRule(
            name="priority",
            kind=ValueKind.NUMBER,
            doc="apt's pin priority of its packages: below 0 never, above 1000 even downgrades.",
            example="100",
            otherwise="apt's own, 500",
            least=-32768,
            most=32767,
        ),
        KeyRule(
            name="keep",
            kind=ValueKind.SWITCH,
            doc="Whether the tree's own apt knows the repository, too.",
            example="false",
            default=True,
        ),
    ),
)

PACKAGES = TableRule(
    name="packages",
    doc="Which packages are in the tree.",
    keys=(
        KeyRule(
            name="install",
            kind=ValueKind.TEXTS,
            doc="Packages as apt writes them (NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE),"
            " or .deb files beside the recipe (./FILE.deb).",
            example='["systemd-sysv", "linux-image-amd64", "htop/trixie-backports"]',
            otherwise="an error, unless from brings packages along",
            check=packages.check_package,
            same=packages.package_name,
            rivals=("remove",),
            local=packages.is_local_package,
        ),
        KeyRule(
            name="remove",
            kind=ValueKind.TEXTS,
            doc="Packages (NAME or NAME:ARCH) that must not be there.",
            example='["nano"]',
            check=packages.check_removed_package,
            same=packages.package_name,
            rivals=("install",),
        ),
        KeyRule(
            name="versions",
            kind=ValueKind.MAP,
            doc="The version that a package has, whoever wants it; * at the end is any rest.",
            example='{ "linux-image-amd64" = "6.12.*" }',
            check=packages.check_kept_version,
            check_name=packages.check_removed_package,
        ),
        KeyRule(
            name="sources",
            kind=ValueKind.MAP,
            doc="The [[repo]] or the suite that a package is taken from.",
            example='{ "podman" = "trixie-backports" }',
            check=packages.check_package_source,
            check_name=packages.check_removed_package,
        ),
        KeyRule(
            name="recommends",
            kind=ValueKind.SWITCH,
            doc="Whether recommended packages are installed, too.",
            example="true",
            default=False,
        ),
        KeyRule(
            name="debconf",
            kind=ValueKind.TEXTS,
            doc="Answers to what packages ask, lines for debconf-set-selections; licences, too.",
            example='["steam steam/question select I AGREE"]',
            check=packages.check_debconf,
        ),
    ),
)
