"""api/v2/...: the Open Inference Protocol v2 (KServe, Triton), for every model.

See ``serving/endpoints/open_inference.py``.
"""

import azure.functions as func

from serving.endpoints.open_inference import OpenInference
from serving.http import handle

_endpoint = OpenInference()


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a request."""
    return await handle(req, _endpoint, context)
