"""Azure's hosting plans and their limits, each with the page of Microsoft's documentation that states it."""

from __future__ import annotations

from dataclasses import dataclass

GB = 1_000_000_000

# "Azure Functions scale and hosting", the table "Service limits" (learn.microsoft.com/azure/azure-functions/
# functions-scale): memory per instance and temporary storage. Instance sizes of Flex Consumption, of which 2,048 MB is
# the default, and the time an app has to start there: "Azure Functions Flex Consumption plan hosting"
# (.../flex-consumption-plan), Instance sizes and Considerations. 3.5 GB and 21 GB are those of the smallest Premium
# plan. A container has the limits that it is given.


@dataclass(frozen=True)
class Plan:
    """A hosting plan: an instance's memory and temporary storage, and an app's time to start; None for no limit."""

    title: str
    memory_mb: int | None
    temporary_bytes: int | None
    start_seconds: int | None = None
    memory_choices_mb: tuple[int, ...] = ()
    runs_from_package: bool = False  # whatever the app settings are


PLANS = {
    "flex": Plan("Flex Consumption", 2048, 8 * GB // 10, 30, (512, 2048, 4096), runs_from_package=True),
    "consumption": Plan("Consumption", 1536, GB // 2),
    "premium": Plan("Premium EP1", 3584, 21 * GB),
    "container": Plan("a container", None, None),
}

# "Run your functions from a package file in Azure" (.../run-functions-from-deployment-package).
MAX_PACKAGE_BYTES = GB

# "Build your Python Azure Functions apps" (.../python-build-options): a remote build that takes longer fails.
REMOTE_BUILD_SECONDS = 60

# "Azure Functions scale and hosting", Function app time-out duration: the front end waits this long for an answer.
ANSWER_SECONDS = 230
