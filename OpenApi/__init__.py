"""GET api/openapi.json: the OpenAPI 3.1 document of this app, for API Management and client generators.

See ``serving/openapi/document.py``.
"""

import azure.functions as func

from serving.endpoints.openapi import OpenApi
from serving.http import handle

_endpoint = OpenApi()


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a request for the document."""
    return await handle(req, _endpoint, context)
