"""Text of strangers reaches a terminal only with everything escaped that the terminal could obey."""


def printable(text: str) -> str:
    """The text with control, format (such as right-to-left marks) and undecodable characters as Python escapes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
