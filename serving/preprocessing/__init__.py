"""Pictures to tensors and scores to class names, as ``preprocessing.json`` beside a model says."""
