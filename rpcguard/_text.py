"""Text, as it is read and written in more than one room."""
