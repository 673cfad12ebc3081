"""What the model is made of: `prepare`, `features` and `model`. The machinery around them is the package `mlcicd`."""
