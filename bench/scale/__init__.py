"""What many concurrent runs cost: a model, and a simulation that checks it."""
