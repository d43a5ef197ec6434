"""Loads models on an instance that Azure has added, before it gets requests.

Azure recognizes the function by its name and calls it in plans that have warm-up triggers.
"""

from azure.functions.warmup import WarmUpContext

from serving.models import repository


def main(warmupContext: WarmUpContext) -> None:  # noqa: N803 - the name in Azure's own templates
    """Load the models of ``SERVING_PRELOAD``, or the default model, and run each once."""
    repository.shared().preload()
