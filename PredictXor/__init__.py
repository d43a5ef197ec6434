"""POST api/PredictXor: the XOR model of the 2017 article, in the article's own format.

The response to ``{"X": "1 0|1 1"}`` is ``{"labels": [[0.98827], [0.0114]]}``; see ``serving/endpoints/predict_x.py``.
"""

import azure.functions as func

from serving.endpoints.predict_x import PredictX
from serving.http import handle

_endpoint = PredictX(model_name="xor")


async def main(req: func.HttpRequest, context: func.Context = None) -> func.HttpResponse:
    """Answer a request; the first one loads the model into the cache of ``serving.models.repository``."""
    return await handle(req, _endpoint, context)
