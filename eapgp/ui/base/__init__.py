"""What every page is drawn with: fields of the link, the session, words and small pieces."""
