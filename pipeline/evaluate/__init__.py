import logging

# Matplotlib warns that it builds its font cache, or where if HOME is missing: nothing that a person has to know or do.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
