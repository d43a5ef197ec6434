"""Pictures to tensors and scores to class names, as ``preprocessing.json`` beside a model says."""

FILE = "preprocessing.json"  # beside a model
