"""The daily scan: from a universe and daily bars to candidates for the next session. Pure."""
