"""Operating: what a person or a timer asks, and what is told to them."""
