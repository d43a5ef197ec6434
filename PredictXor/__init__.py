"""POST api/PredictXor: the XOR model of the 2017 article, in the article's own format.

``{"X": "1 0|1 1"}`` is answered with ``{"labels": [[0.98827], [0.0114]]}``. What a request goes through is told in
``serving/http.py``, the format in ``serving/wire/x_labels.py``.
"""

import azure.functions as func

from serving.http import predict
from serving.wire import x_labels


def main(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one request; the first one loads the model into the module-level cache of ``serving.repository``."""
    return predict(req, model_name="xor", wire=x_labels)
