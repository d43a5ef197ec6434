"""GET api/playground: a page for trying the models, the static file ``index.html`` beside this one.

The page needs no function key. A key that the models need is entered on the page.
"""

from pathlib import Path

import azure.functions as func

from serving.endpoints.page import Page
from serving.http import handle

_endpoint = Page(Path(__file__).with_name("index.html"))


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a request for the page."""
    return await handle(req, _endpoint, context)
