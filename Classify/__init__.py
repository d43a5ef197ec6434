"""api/models/{name}[/versions/{version}]/classify: pictures in, names and scores out.

See ``serving/endpoints/classify.py``.
"""

import azure.functions as func

from serving.endpoints.classify import Classify
from serving.http import handle

_endpoint = Classify()


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a request."""
    return await handle(req, _endpoint, context)
