"""What the functions share: from a request's bytes to a loaded model and back. Imports no Keras and no `tensorflow`."""

import os

# NumPy's OpenBLAS starts a thread for every core when it is imported, and they spin for work that never comes here: a
# tenth of a cold start. Nothing of the app multiplies matrices in NumPy; a function that does can set it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
