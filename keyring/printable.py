"""What is printed reads as a person would write it, and text of strangers has nothing in it that a terminal obeys."""


def printable(text: str) -> str:
    """The text with control, format (such as right-to-left marks) and undecodable characters as Python escapes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def counted(number: int, thing: str) -> str:
    """The number with its noun, as in "1 receipt" and "2 receipts"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
