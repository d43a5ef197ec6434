"""Runs on an instance that Azure has added, before it takes requests: loads the models ahead.

Azure knows the function by its name and calls it in the plans that have warm-up triggers.
"""

from azure.functions.warmup import WarmUpContext

from serving.models import repository


def main(warmupContext: WarmUpContext) -> None:  # noqa: N803 - the name of Azure's own templates
    """Load the models of ``SERVING_PRELOAD``, or the default one, and have each answer once."""
    repository.shared().preload()
