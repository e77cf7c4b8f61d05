"""Teacher, student, and the directory that a trained one lives in."""
