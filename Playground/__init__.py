"""GET api/playground: a page to try the models on. It is one static file, ``index.html`` beside this one.

The page itself is open to all; a function key that the app asks for is typed into it.
"""

from pathlib import Path

import azure.functions as func

from serving.endpoints.page import Page
from serving.http import handle

_endpoint = Page(Path(__file__).with_name("index.html"))


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer one request for the page."""
    return await handle(req, _endpoint, context)
