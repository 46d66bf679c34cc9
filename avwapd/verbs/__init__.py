"""What `avwapd VERB` runs: a module a verb, imported only when it is chosen."""
