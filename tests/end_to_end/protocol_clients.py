"""Real clients of the protocols asking the tests' own model: run in ``.venv-clients``, each prints its answers as JSON.

``python protocol_clients.py triton|kserve_v2|kserve_v1|ovms http://localhost:7071``, or ``triton_pictures`` with
pictures in base64 after the URL.
"""

import asyncio
import base64
import json
import sys
from typing import Any

import numpy as np

Answers = dict[str, Any]

ROWS = np.array([[1, 0], [1, 1]], np.float32)


def triton(url: str) -> Answers:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(f"{url.removeprefix('http://')}/api")
    answers = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready("parity", "1"),
        "missing ready": client.is_model_ready("missing"),
        "inputs": client.get_model_metadata("parity")["inputs"],
        "index": client.get_model_repository_index()[0]["name"],
    }
    for sent in (True, False):
        rows = triton.InferInput("X", list(ROWS.shape), "FP32")
        rows.set_data_from_numpy(ROWS, binary_data=sent)
        for asked in (True, False):
            wanted = triton.InferRequestedOutput("labels", binary_data=asked)
            result = client.infer("parity", [rows], outputs=[wanted], request_id="7")
            answers[f"labels {sent} {asked}"] = result.as_numpy("labels").tolist()
            answers["id"] = result.get_response()["id"]
    answers["labels by default"] = client.infer("parity", [rows]).as_numpy("labels").tolist()
    try:
        client.infer("parity", [triton.InferInput("Y", [1, 2], "FP32")])
    except triton.InferenceServerException as error:
        answers["error"] = [error.status(), error.message()]
    return answers


def triton_pictures(url: str) -> Answers:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(f"{url.removeprefix('http://')}/api")
    pictures = np.array([base64.b64decode(text) for text in sys.argv[3:]], object)
    answers: Answers = {}
    for binary in (True, False):
        wanted = triton.InferRequestedOutput("kind", binary_data=binary, class_count=2)
        rows = triton.InferInput("picture", [len(pictures)], "BYTES")
        rows.set_data_from_numpy(pictures, binary_data=True)
        result = client.infer("shade", [rows], outputs=[wanted]).as_numpy("kind")
        answers[f"classes {binary}"] = [
            [one if isinstance(one, str) else one.decode() for one in row] for row in result
        ]
    return answers


async def _kserve_v2(url: str) -> Answers:
    import kserve

    client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
    base = f"{url}/api"
    answers = {
        "live": await client.is_server_live(base),
        "ready": await client.is_server_ready(base),
        "model ready": await client.is_model_ready(base, "parity"),
    }
    for binary in (False, True):
        rows = kserve.InferInput("X", list(ROWS.shape), "FP32")
        rows.set_data_from_numpy(ROWS, binary_data=binary)
        request = kserve.InferRequest(model_name="parity", infer_inputs=[rows])
        response = await client.infer(base, request, model_name="parity")
        answers[f"labels {binary}"] = response.outputs[0].as_numpy().tolist()
    return answers


def kserve_v2(url: str) -> Answers:
    return asyncio.run(_kserve_v2(url))


async def _kserve_v1(url: str) -> Answers:
    import kserve

    client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1"))
    base = f"{url}/api"
    return {
        "model ready": await client.is_model_ready(base, "parity"),
        "predictions": (await client.infer(base, {"instances": ROWS.tolist()}, model_name="parity"))["predictions"],
    }


def kserve_v1(url: str) -> Answers:
    return asyncio.run(_kserve_v1(url))


def ovms(url: str) -> Answers:
    from ovmsclient import make_http_client

    client = make_http_client(f"{url.removeprefix('http://')}/api")
    status = client.get_model_status(model_name="parity")
    metadata = client.get_model_metadata(model_name="parity")
    return {
        "status": {str(version): state["state"] for version, state in status.items()},
        "dtype": metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["X"]["dtype"],
        "labels": client.predict(inputs={"X": ROWS}, model_name="parity").tolist(),
    }


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
