"""What ``safeconnect run`` puts on PYTHONPATH: each Python that starts below it imports this, then what it hides.

Also a Python of another version may, so the syntax is that of any Python 3.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _activate(package):
    if sys.version_info < (3, 11):  # another program's Python
        return
    try:
        try:
            import safeconnect  # noqa: F401 - to see whether this Python has one of its own
        except ImportError:
            _load(package)
        from safeconnect._run.activation import activate

        activate()
    except Exception as error:
        if sys.stderr is None:
            return
        sys.stderr.write("safeconnect: not active in this process: %s: %s\n" % (type(error).__name__, error))


def _load(package):
    """Load the package from its place, of which nothing else is to be seen by this Python."""
    from importlib.util import module_from_spec, spec_from_file_location

    path = os.path.join(package, "__init__.py")
    spec = spec_from_file_location("safeconnect", path, submodule_search_locations=[package])
    module = sys.modules["safeconnect"] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["safeconnect"]  # as an import does
        raise


_activate(os.path.dirname(os.path.dirname(_HERE)))
# From here on as if this file were not there: the next sitecustomize is the module, or its import fails as it would.
sys.path[:] = [each for each in sys.path if not isinstance(each, str) or os.path.abspath(each) != _HERE]
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401
