"""Pure mathematics on tensors: no configuration, no model, no state."""
