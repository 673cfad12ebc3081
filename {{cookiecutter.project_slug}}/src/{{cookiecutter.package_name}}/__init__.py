"""What the model is made of: `prepare`, `features` and `model` are yours, `pipeline` is the machinery around them."""
