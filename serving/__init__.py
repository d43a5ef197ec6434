"""What is deployed: from a request's bytes to a loaded model and back. Imports neither Keras nor `tensorflow`."""

import os

__version__ = "1.0.0"

# NumPy's OpenBLAS starts a thread per core when it is imported, a tenth of a cold start, and this app multiplies no
# matrices in NumPy. A function that does can set the variable itself.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
