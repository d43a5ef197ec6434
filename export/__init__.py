"""Export: from Keras's files to a SavedModel. Imports Keras and TensorFlow, so it never runs in a serving process."""
