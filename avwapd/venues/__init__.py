"""Where orders go. Everything a venue says is translated at this border into the port's words."""
