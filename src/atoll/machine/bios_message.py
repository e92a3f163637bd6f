"""What a live stick says on a computer that starts it by BIOS: that it needs UEFI.

A BIOS loads the first sector of a disk to 0x7c00 and runs it in the processor's 16-bit mode. UEFI
never runs this code, and a GPT leaves its place, the first 440 bytes, to whoever wants it.
"""

CODE_LIMIT = 440
"""Bytes before the disk's signature and the partitions of the MBR."""
MESSAGE = (
    "This stick starts computers by UEFI only, and this one was started by BIOS.\r\n"
    "Switch UEFI on in the firmware's setup (or CSM, legacy boot, off); try again.\r\n"
    "A computer that has no UEFI cannot run this system.\r\n"
)
_CODE = bytes.fromhex(
    "fc"  # cld
    "31c0"  # xor ax, ax
    "8ed8"  # mov ds, ax
    "be197c"  # mov si, message
    "ac"  # next: lodsb
    "84c0"  # test al, al
    "7409"  # jz end
    "b40e"  # mov ah, 0x0e: print a character
    "bb0700"  # mov bx, 7
    "cd10"  # int 0x10
    "ebf2"  # jmp next
    "f4"  # end: hlt
    "ebfd"  # jmp end
)


def format_boot_code() -> bytes:
    return _CODE + MESSAGE.encode("ascii") + b"\0"
