#!/bin/bash
# shellcheck disable=SC2154  # dracut sets these variables
#
# The dracut module of Atoll's early boot: systemd in the initrd, drivers for all machines, and a
# service that mounts the tree (early-boot.sh). Dracut's own handling of root= is not included.

check() {
    require_binaries mount umount mkdir fsverity || return 1
    return 255
}

depends() {
    echo systemd systemd-initrd systemd-emergency udev-rules kernel-modules shell-interpreter
    can_open_volumes && echo dm systemd-ask-password
    return 0
}

# Whether the tree can open an encrypted state partition.
can_open_volumes() {
    [[ -x $dracutsysrootdir$systemdutildir/systemd-cryptsetup ]]
}

installkernel() {
    hostonly='' instmods erofs overlay ext4 btrfs loop
    hostonly='' instmods dm-crypt dm-mod
    if can_open_volumes; then
        # Ciphers and hashes, also those that use instructions of the processor.
        hostonly='' instmods drbg =crypto =arch/x86/crypto =arch/arm64/crypto
    fi
    hostonly='' instmods vfat nls_cp437 nls_iso8859-1 nls_ascii nls_utf8
    # To read boot counters, and to record a kernel panic.
    hostonly='' instmods efivarfs efi-pstore
    hostonly='' instmods ahci nvme sd_mod sr_mod usb-storage uas mmc_block sdhci-pci sdhci-acpi
    hostonly='' instmods virtio_pci virtio_blk virtio_scsi virtio_console
    hostonly='' instmods hid-generic usbhid atkbd i8042 xhci-pci ehci-pci
}

install() {
    inst_multiple mount umount mkdir rmdir mv cat cp ln rm chmod sync sleep tr uname cut fsverity
    # The merge of /etc on a first boot runs in the tree.
    inst_multiple chroot timeout mountpoint
    # To check the state partition, and to open an encrypted one, if the tree has the programs.
    inst_multiple -o fsck fsck.ext4 e2fsck \
        "$systemdutildir"/systemd-cryptsetup \
        "$systemdutildir"/system-generators/systemd-cryptsetup-generator \
        "$systemdsystemunitdir"/cryptsetup-pre.target \
        "$systemdsystemunitdir"/cryptsetup.target \
        "$systemdsystemunitdir"/sysinit.target.wants/cryptsetup.target
    if can_open_volumes; then
        # The passphrase is typed with the layout of the machine's keyboard.
        inst_multiple -o loadkeys
        inst_simple "$moddir/atoll-keyboard.service" "$systemdsystemunitdir/atoll-keyboard.service"
        mkdir -p "$initdir$systemdsystemunitdir/sysinit.target.wants"
        ln -s ../atoll-keyboard.service \
            "$initdir$systemdsystemunitdir/sysinit.target.wants/atoll-keyboard.service"
    fi

    inst_simple "$moddir/early-boot.sh" /usr/lib/atoll/early-boot
    local part
    for part in "$moddir"/early-boot.d/*.sh; do
        inst_simple "$part" "/usr/lib/atoll/early-boot.d/${part##*/}"
    done
    inst_simple /usr/lib/atoll/formats.sh
    inst_simple "$moddir/reboot-after-failure.sh" /usr/lib/atoll/reboot-after-failure
    inst_simple /usr/lib/atoll/print-to-consoles
    # Restart when systemd crashes or the machine hangs.
    inst_simple /usr/lib/systemd/system.conf.d/50-atoll.conf
    inst_simple "$moddir/early-boot-generator.sh" \
        "$systemdutildir/system-generators/atoll-early-boot-generator"
    inst_simple "$moddir/atoll-early-boot.service" \
        "$systemdsystemunitdir/atoll-early-boot.service"
    inst_simple "$moddir/emergency.conf" \
        "$systemdsystemunitdir/emergency.service.d/50-atoll.conf"
    mkdir -p "$initdir$systemdsystemunitdir/initrd-root-fs.target.requires"
    ln -s ../atoll-early-boot.service \
        "$initdir$systemdsystemunitdir/initrd-root-fs.target.requires/atoll-early-boot.service"

    # The root is determined by composefs= only, never by the type of a partition.
    rm -f "$initdir$systemdutildir/system-generators/systemd-gpt-auto-generator"
    printf 'ID=atoll\nNAME="Atoll early boot"\nPRETTY_NAME="Atoll early boot"\n' \
        > "$initdir/usr/lib/initrd-release"
    rm -f "$initdir/etc/initrd-release" "$initdir/etc/os-release"
    ln -s ../usr/lib/initrd-release "$initdir/etc/initrd-release"
    ln -s initrd-release "$initdir/etc/os-release"
    grep -q '^root:' "$initdir/etc/passwd" || echo 'root:*:0:0::/root:/bin/sh' >> "$initdir/etc/passwd"
    mkdir -p "$initdir/sysroot" "$initdir/root"
}
