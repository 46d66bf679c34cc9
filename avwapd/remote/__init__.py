"""Calls to services that are not ours: limits, budgets, and foreign clients made to behave. No orders, no bars."""
