"""api/v1/models/...: TensorFlow Serving's REST API, for every model.

The URLs and bodies are told in ``serving/wire/tf_serving.py``, what is answered in ``serving/protocols/tf_serving.py``.
"""

import azure.functions as func

from serving.http import handle
from serving.protocols.tf_serving import TfServing

_protocol = TfServing()


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer one request."""
    return await handle(req, _protocol, context)
