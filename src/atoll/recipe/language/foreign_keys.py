"""What other tools call tables and keys of a recipe: such words are answered, never obeyed."""

from __future__ import annotations

OURS = {
    "services": "units", "service": "units", "systemd": "units", "daemons": "units",
    "enable": "units.enable", "enabled": "units.enable", "timers": "units",
    "accounts": "user", "people": "user", "passwd": "user", "sudo": "user.groups",
    "authorized_keys": "user.ssh_keys", "sshkeys": "user.ssh_keys", "ssh": "user.ssh_keys",
    "language": "system.locale", "lang": "system.locale", "i18n": "system.locale",
    "keyboard": "system.keymap", "layout": "system.keymap", "console": "system.keymap",
    "tz": "system.timezone", "time": "system.timezone", "clock": "system.timezone",
    "settings": "system", "config": "system", "environment": "file",
    "bootloader": "boot", "grub": "boot", "loader": "boot", "menu": "boot",
    "cmdline": "kernel.args", "kernel_args": "kernel.args", "kargs": "kernel.args",
    "kernel_arguments": "kernel.args", "drivers": "kernel.modules", "dkms": "kernel.modules",
    "initramfs": "kernel.initrd_modules", "initrd": "kernel.initrd_modules",
    "apt": "repo", "sources": "repo", "ppa": "repo", "repositories": "repo",
    "archives": "repo", "pkgs": "packages", "software": "packages", "debs": "packages",
    "programs": "packages", "dependencies": "packages", "backports": "packages.install",
    "pin": "packages.versions", "preferences": "packages.versions",
    "preseed": "packages.debconf", "exclude": "packages.remove", "uninstall": "packages.remove",
    "copy": "file", "overlay": "file", "contents": "file", "symlink": "file.link",
    "run": "script", "commands": "script", "hooks": "script", "postinstall": "script",
    "post_install": "script", "exec": "script", "apps": "flatpak", "flathub": "flatpak.remotes",
    "containers": "box", "container": "box", "distrobox": "box", "toolbox": "box",
    "base": "from", "parent": "from", "extends": "from", "inherit": "from", "distribution": "from",
    "release": "from", "import": "include", "imports": "include",
    "profiles": "variant", "flavours": "variant", "flavors": "variant", "conditions": "when",
    "upgrade": "update", "updates": "update", "autoupdate": "update", "generations": "keep",
    "retention": "keep", "tests": "health", "checks": "health.check", "healthcheck": "health",
    "registry": "publish", "push": "publish", "meta": "image", "metadata": "image",
    "project": "image",
}  # fmt: skip
"""Their word: the table or key of ours, as ``atoll explain`` takes it."""

ELSEWHERE = {
    "network": 'settings of the network are files: [[file]] path = "/etc/systemd/network/…"',
    "networking": 'settings of the network are files: [[file]] path = "/etc/systemd/network/…"',
    "wifi": "each machine keeps its own Wi-Fi settings in /etc: put none into the image",
    "firewall": "name the firewall in [packages] install, and its rules as a [[file]]",
    "disk": "the recipe says nothing of disks; see: atoll disk --help",
    "disks": "the recipe says nothing of disks; see: atoll disk --help",
    "partitions": "the recipe says nothing of disks; see: atoll disk --help",
    "storage": "the recipe says nothing of disks; see: atoll disk --help",
    "filesystems": 'mounts are units or lines of a [[file]] path = "/etc/fstab"',
    "fstab": 'mounts are units or lines of a [[file]] path = "/etc/fstab"',
    "mounts": 'mounts are units or lines of a [[file]] path = "/etc/fstab"',
    "swap": "name zram-tools or a swap unit: [packages] install, [units] enable",
    "sysctl": 'write a [[file]] path = "/usr/lib/sysctl.d/50-NAME.conf"',
    "secrets": "put no secret into an image: everybody who has the image can read it",
}
"""Their word: what to write instead, where no single table of ours is its counterpart."""
