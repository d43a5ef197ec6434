"""What the functions share: from a request's bytes to a loaded model and back. Imports no Keras and no `tensorflow`."""
