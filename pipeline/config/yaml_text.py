"""Whether YAML that comes from strangers is plain."""

import yaml

MAX_DEPTH = 9  # of nesting


def is_plain(text: str) -> bool:
    """Whether YAML has no types (`!!…`), and nothing that fills memory from few bytes: aliases or deep nesting.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    depth = 0
    for event in yaml.parse(text):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            return False
    return True
