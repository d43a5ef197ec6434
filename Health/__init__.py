"""GET api/health: whether the app is live and ready, for Traffic Manager, Front Door and App Service's health check.

See ``serving/endpoints/health.py`` for the meaning of live and ready.
"""

import azure.functions as func

from serving.endpoints.health import Health
from serving.http import handle

_endpoint = Health()


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a probe."""
    return await handle(req, _endpoint, context)
