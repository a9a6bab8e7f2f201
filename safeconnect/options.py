"""Socket options as values."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    # What socket.setsockopt() takes; urllib3 writes its socket_options the same way.
    Option = tuple[int, int, int | bytes] | tuple[int, int, None, int]


def check_options(options: "Iterable[Option]") -> "tuple[Option, ...]":
    """The options as a tuple, each of them a tuple that `socket.setsockopt` takes.

    :raises TypeError: it is something else, naming the item.
    """
    checked = tuple(options)
    for option in checked:
        if (
            not isinstance(option, tuple)
            or len(option) not in (3, 4)
            or not all(isinstance(n, int) for n in option[:2])
        ):
            raise TypeError(f"options must be (level, name, value) tuples, as for setsockopt(), not {option!r}")
    return checked
