"""Facts that the dialogue needs: disks, the image's contents, and the resulting plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.password_hash import hash_password
from atoll.installer.dialogue.dialogue import Facts, PlanText
from atoll.installer.dialogue.disk_choices import DiskChoices, target_of
from atoll.installer.plan.describe_plan import format_plan
from atoll.installer.plan.plan_installation import plan_installation
from atoll.installer.settings.check_settings import find_notes, require_possible
from atoll.installer.settings.describe_settings import format_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.fields import Check
    from atoll.installer.answers.parse import Answers
    from atoll.installer.devices.block_devices import BlockDevices
    from atoll.installer.plan.partitioning import ImageNeeds, InstallationPlan
    from atoll.installer.settings.image_contents import ImageContents
    from atoll.machine.keyboard import KeyboardLayout

NO_KEY = (
    "Atoll does not check signatures yet: whoever controls that registry controls this machine."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An image and the machine that it may be installed on. ``image`` and ``follow`` are words for
    images."""

    image: str
    follow: str
    contents: ImageContents
    needs: ImageNeeds
    devices: BlockDevices
    check_follow: Check
    not_encrypted: str
    """Why the image or this system cannot encrypt; empty where they can."""
    check_plan: Callable[[InstallationPlan, Answers], None]
    """Raises AtollError for other obstacles to a plan, such as a missing program."""
    notes: tuple[str, ...] = ()
    """What a person should know of the image before it is installed."""

    def plan(self, answers: Answers) -> InstallationPlan:
        """Raises Refused with every obstacle, RecipeError for settings the image cannot satisfy."""
        assert answers.target is not None, "the dialogue has asked for it"
        require_possible(answers.settings, self.contents)
        encrypted = answers.encryption is not None
        target = target_of(answers.target)
        plan = plan_installation(target, self.devices, self.needs, encrypted=encrypted)
        self.check_plan(plan, answers)
        return plan

    def plan_text(self, answers: Answers) -> PlanText:
        plan = self.plan(answers)
        notes = (*self.notes, *find_notes(answers.settings, self.contents))
        settings = format_settings(answers.settings, follow=answers.follow, notes=notes)
        return PlanText(text=f"{format_plan(plan)}\n{settings}", name=plan.device.name)


def make_facts(offer: Offer, try_keyboard: Callable[[KeyboardLayout], None]) -> Facts:
    choices = DiskChoices(devices=offer.devices, needs=offer.needs)
    return Facts(
        image=offer.image,
        title=offer.needs.title,
        follow=offer.follow,
        key=NO_KEY,
        check_follow=offer.check_follow,
        not_encrypted=offer.not_encrypted,
        contents=offer.contents,
        places=choices.list_disks(),
        parts_of=choices.list_parts,
        plan=offer.plan_text,
        hash_password=hash_password,
        try_keyboard=try_keyboard,
    )
