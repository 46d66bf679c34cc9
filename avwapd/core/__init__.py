"""The engine: pure functions over records. No clock, file, socket, log or random enters here."""
