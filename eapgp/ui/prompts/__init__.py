"""The page Prompts."""
