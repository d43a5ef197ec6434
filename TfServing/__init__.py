"""api/v1/models/...: TensorFlow Serving's REST API, for every model; see ``serving/endpoints/tf_serving.py``."""

import azure.functions as func

from serving.endpoints.tf_serving import TfServing
from serving.http import handle

_endpoint = TfServing()


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a request."""
    return await handle(req, _endpoint, context)
