"""How faithful explanations are: what becomes of a decision without what it is said to rest on."""
