"""A venue to try things on: an account, a market and the wires of real venues, in one process on loopback."""
