"""Training of teachers and students from feature archives."""
